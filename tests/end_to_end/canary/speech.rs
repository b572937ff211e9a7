//! Says a canary in every way that a tenant, a provider and an administrator can.

use bailiwick_tests::{
    admin::Admin,
    calls::Application,
    installation::{Installation, Region},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{RequestBuilder, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tonic::Code;

/// Models, each with its own way of answering; all but the first repeat what was said.
const MODELS: [&str; 10] = [
    "truncated",
    "echo",
    "tools",
    "headers",
    "status-400",
    "status-401",
    "status-429",
    "status-500",
    "page-403",
    "page-502",
];
/// Models of a provider who speaks Anthropic's dialect, called in it and in OpenAI's.
const TRANSLATED: [&str; 6] = ["truncated", "echo", "tools", "garbage", "status-400", "status-529"];
/// Larger than what a worker holds of an answer: it passes while it comes.
const LARGE_WORDS: usize = 20_000;

/// What was said.
pub(super) struct Said {
    /// How many calls were metered.
    pub(super) metered: u64,
    /// The secret part of an API key that was sent to wrong places.
    pub(super) key: String,
}

/// Says a canary in one region.
pub(super) struct Voice {
    content: String,
    application: Application,
    admin: Admin,
    region: Region,
    metered: u64,
}

impl Voice {
    /// A voice, with the models that it needs.
    pub(super) async fn of(name: &str, installation: &Installation, content: &str, secret: &str) -> Self {
        let region = installation.region(name).clone();
        let admin = Admin::of(name, &region);
        let credential = admin.new_credential(&region.organization, secret).await;
        let mut revision = 0;
        for model in MODELS {
            let (endpoint, upstream) = (&installation.provider, format!("simulated-{model}"));
            revision = admin.new_model(&region.organization, model, endpoint, &upstream, &credential).await;
        }
        for model in TRANSLATED {
            let (endpoint, upstream) = (&installation.provider, format!("simulated-{model}"));
            let name = format!("anthropic-{model}");
            let organization = &region.organization;
            revision =
                admin.new_model_of("anthropic", organization, &name, endpoint, &upstream, &credential).await;
        }
        admin.applied(revision).await;
        let application = Application::of(&region);
        Self { content: content.to_owned(), application, admin, region, metered: 0 }
    }

    /// Everything.
    pub(super) async fn speak(mut self) -> Said {
        self.answered().await;
        self.translated().await;
        self.shapes().await;
        self.forms().await;
        self.refused().await;
        let key = self.misplaced_keys().await;
        self.administration().await;
        Said { metered: self.metered, key }
    }

    /// Every kind of answer, whole and as a stream.
    async fn answered(&mut self) {
        let content = self.content.clone();
        for stream in [false, true] {
            for model in MODELS {
                let answer = self.application.chat(model, &content, stream).await.expect("answer");
                let repeats = ["echo", "status-400", "status-429", "status-500", "page-502"].contains(&model);
                let (headers, text) = (format!("{:?}", answer.headers()), answer.text().await);
                match (model, text) {
                    ("truncated", _) => {}
                    ("headers", text) => assert!(headers.contains(&content) && text.is_ok(), "{headers}"),
                    ("tools", text) => assert!(text.expect("text").contains("look_up")),
                    (_, text) if repeats => {
                        let text = text.expect("text");
                        assert!(text.contains(&content), "it went there and back by {model}: {text}");
                    }
                    (_, text) => assert!(!text.expect("text").contains(&content), "{model} is not passed on"),
                }
                self.metered += 1;
            }
            let large = [content.as_str()].repeat(LARGE_WORDS).join(" ");
            let answer = self.application.chat("echo", &large, stream).await.expect("answer");
            assert!(answer.text().await.expect("text").len() > large.len(), "a large answer passes");
            self.metered += 1;
        }
    }

    /// Every kind of answer that is translated: a provider of one dialect, a caller of the other; and both of Anthropic's.
    async fn translated(&mut self) {
        let content = self.content.clone();
        for stream in [false, true] {
            for (path, model) in TRANSLATED
                .iter()
                .flat_map(|model| {
                    let anthropic = format!("anthropic-{model}");
                    [("/chat/completions", anthropic.clone()), ("/messages", anthropic)]
                })
                .chain(["echo", "tools", "status-429"].map(|model| ("/messages", model.to_owned())))
            {
                let body = json!({"model": model, "max_tokens": 99, "stream": stream,
                                  "messages": [{"role": "user", "content": content}]});
                let answer = self.application.post(path, &body).await.expect("answer");
                let (status, text) = (answer.status(), answer.text().await);
                if model.ends_with("echo") {
                    let text = text.expect("text");
                    assert!(text.contains(&content), "{path} {model} {status}: {text}");
                }
                self.metered += 1;
            }
        }
        // Refused by name: the value is not repeated.
        let body = json!({"model": "anthropic-echo", "logprobs": true, "user": content, "messages": [{"role": "user", "content": content}]});
        refuses(self.signed(self.application.http.post(self.url("/chat/completions"))).json(&body), &content)
            .await;
        self.metered += 1;
    }

    /// Every place of a request that can hold something.
    async fn shapes(&mut self) {
        let content = self.content.clone();
        let encoded = STANDARD.encode(format!("a file of {content} and more of {content}"));
        let chat = json!({
            "model": "echo",
            "user": content,
            "metadata": {"note": content, content.clone(): "a key"},
            "stop": [content],
            "tools": [{"type": "function", "function": {
                "name": content, "description": content, "parameters": {"properties": {content.clone(): {}}},
            }}],
            "tool_choice": {"type": "function", "function": {"name": content}},
            "response_format": {"type": "json_schema", "json_schema": {"name": content, "schema": {}}},
            content.clone(): content,
            "messages": [
                {"role": "system", "content": content},
                {"role": "developer", "content": content, "name": content},
                {"role": "user", "content": [
                    {"type": "text", "text": content},
                    {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{encoded}")}},
                    {"type": "image_url", "image_url": {"url": format!("https://images.example/{content}.png")}},
                    {"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}},
                    {"type": "file", "file": {"file_data": encoded, "filename": content}},
                ]},
                {"role": "assistant", "content": null, "tool_calls": [{"id": content, "type": "function",
                    "function": {"name": content, "arguments": json!({"q": content}).to_string()}}]},
                {"role": "tool", "tool_call_id": content, "content": content},
            ],
        });
        self.served("/chat/completions", &chat).await;
        self.served("/completions", &json!({"model": "echo", "prompt": content, "suffix": content})).await;
        self.served("/embeddings", &json!({"model": "echo", "input": [content], "user": content})).await;
    }

    /// Forms with a file: one that is held whole, one that passes while it comes, and those that are refused.
    async fn forms(&mut self) {
        let content = self.content.clone();
        let part = |head: &str, value: &str| {
            format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
        };
        let form = |parts: &[String]| format!("{}--XX--\r\n", parts.concat());
        let model = part("name=\"model\"", "echo");
        let prompt = part("name=\"prompt\"", &content);
        let file = |value: &str| part(&format!("name=\"file\"; filename=\"{content}.mp3\""), value);
        let large = [content.as_str()].repeat(LARGE_WORDS).join(" ");
        for path in ["/audio/transcriptions", "/audio/translations"] {
            for (name, said) in [("held", content.as_str()), ("passing", large.as_str())] {
                let body = form(&[model.clone(), prompt.clone(), file(said)]);
                let answer = self.form(path, body).send().await.expect("an answer");
                let (status, text) = (answer.status(), answer.text().await.expect("text"));
                assert!(
                    status == 200 && text.contains(&content),
                    "{path} {name} {status}: it went there and back"
                );
                self.metered += 1;
            }
            for bad in [
                form(&[part("name=\"model\"", &content), file(&content)]),
                form(&[model.clone(), part("name=\"model\"", &content), file(&content)]),
                form(&[
                    model.clone(),
                    part(&format!("name=\"file\"; filename=\"{content}; name=model\""), &content),
                ]),
                form(&[model.clone(), part(&format!("{content}=\"file\""), &content)]),
                form(&[model.clone(), file(&format!("{content}--XX{content}"))]),
                [model.clone(), file(&content)].concat(),
                content.clone(),
            ] {
                refuses(self.form(path, bad), &content).await;
            }
        }
    }

    fn form(&self, path: &str, body: String) -> RequestBuilder {
        let request = self.signed(self.application.http.post(self.url(path)));
        request.header(CONTENT_TYPE, "multipart/form-data; boundary=XX").body(body)
    }

    async fn served(&mut self, path: &str, body: &Value) {
        let answer = self.application.post(path, body).await.expect("answer");
        assert_eq!(answer.status(), 200, "{path}");
        let _ = answer.bytes().await.expect("a body");
        self.metered += 1;
    }

    /// What the gateway itself refuses: it repeats nothing of it.
    async fn refused(&mut self) {
        let content = self.content.clone();
        for body in [
            json!({"model": content, "messages": [{"role": "user", "content": content}]}),
            json!({"model": [content]}),
            json!({"model": "echo", "stream": content}),
            json!({"model": "echo", "stream_options": content}),
            json!({"model": "echo", "stream_options": {"include_usage": content}}),
            json!([content]),
        ] {
            let request = self.application.http.post(self.url("/chat/completions"));
            refuses(self.signed(request).json(&body), &content).await;
        }
        for malformed in [
            format!("{{\"model\": \"{content}"),
            format!("{content}{{}}"),
            format!("{{\"{content}\": }}"),
            format!("{{\"model\": \"echo\", \"model\": \"{content}\"}}"),
            format!("{{\"model\": \"echo\"}} {content}"),
            format!("{{\"model\": \"\\ud800{content}\"}}"),
            format!("{{\"model\": {content}}}"),
        ] {
            let request = self.application.http.post(self.url("/chat/completions"));
            refuses(self.signed(request).header(CONTENT_TYPE, "application/json").body(malformed), &content)
                .await;
        }
        let request = self.application.http.post(self.url("/chat/completions"));
        refuses(
            self.signed(request).header(CONTENT_TYPE, format!("text/{content}")).body(content.clone()),
            &content,
        )
        .await;
        for path in
            [format!("/{content}"), format!("/models/{content}"), format!("/models/{content}?{content}=1")]
        {
            refuses(self.signed(self.application.http.get(self.url(&path))), &content).await;
        }
        let method = reqwest::Method::from_bytes(content.to_ascii_uppercase().as_bytes()).expect("a method");
        let request = self.application.http.request(method, self.url("/models"));
        refuses(self.signed(request), &content).await;
        // Served, with canaries in headers and query: they concern nobody.
        let request =
            self.application.http.post(self.url(&format!("/chat/completions?{content}=1&q={content}")));
        let mut request = self.signed(request);
        for name in [
            "x-note",
            "openai-beta",
            "accept",
            "cookie",
            "user-agent",
            "referer",
            "x-request-id",
            "traceparent",
            "x-bailiwick-request-id",
            "x-forwarded-for",
            "idempotency-key",
            "openai-organization",
            "x-bailiwick-region",
        ] {
            request = request.header(name, &content);
        }
        let body = json!({"model": "echo", "messages": [{"role": "user", "content": content}]});
        let answer = request.json(&body).send().await.expect("answer");
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.expect("text").contains(&content));
        self.metered += 1;
    }

    /// A valid key, everywhere but where it belongs. Gives the part of it that is secret.
    async fn misplaced_keys(&mut self) -> String {
        let (_, key) = self.admin.new_key(&self.region.organization).await;
        let http = &self.application.http;
        let body = json!({"model": "echo", "api_key": key, "messages": [{"role": "user", "content": key}]});
        for request in [
            http.get(self.url(&format!("/models?api_key={key}"))),
            http.get(self.url(&format!("/{key}"))),
            http.get(self.url("/models")).header("api-key", &key),
            http.get(self.url("/models")).header("x-api-key", format!("{key}x")),
            http.get(self.url("/models")).header("x-api-key", &key).bearer_auth(&key),
            http.get(self.url("/models")).header("cookie", format!("key={key}")),
            http.get(self.url("/models")).basic_auth(&key, Some(&key)),
            http.get(self.url("/models")).bearer_auth(format!("{key}x")),
            http.get(self.url("/models")).bearer_auth(key.to_ascii_uppercase()),
            http.post(self.url("/chat/completions")).json(&body),
        ] {
            let answer = request.send().await.expect("answer");
            let (status, text) = (answer.status(), answer.text().await.expect("text"));
            assert!(status.is_client_error(), "{status}: {text}");
            assert!(!text.contains(&key), "the key is not repeated: {text}");
        }
        // As a prompt it passes, and stays nowhere either.
        self.served("/chat/completions", &body).await;
        key.rsplit('_').next().expect("a secret").to_owned()
    }

    /// What an administrator says in the wrong place is not repeated either.
    async fn administration(&self) {
        use bailiwick_proto::admin::v1 as wire;

        let content = &self.content;
        let request = wire::CreateCredentialRequest {
            idempotency_key: bailiwick_tests::admin::fresh(),
            organization_id: content.clone(),
            name: "test".to_owned(),
            secret: content.clone(),
        };
        let refused = self.admin.credentials().create_credential(request).await.expect_err("no organization");
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(!format!("{refused:?}").contains(content), "{refused:?}");
        let request = wire::CreateDeploymentRequest {
            idempotency_key: bailiwick_tests::admin::fresh(),
            organization_id: self.region.organization.clone(),
            provider: content.clone(),
            endpoint: format!("https://user:{content}@provider.example/v1"),
            upstream_model: "model".to_owned(),
            credential_id: content.clone(),
            api_version: String::new(),
            price: None,
        };
        let refused = self.admin.models().create_deployment(request).await.expect_err("bad fields");
        assert!(!format!("{refused:?}").contains(content), "{refused:?}");
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.application.base_url)
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(&self.application.key)
    }
}

async fn refuses(request: RequestBuilder, content: &str) {
    let answer = request.send().await.expect("answer");
    let (status, text) =
        (answer.status(), format!("{:?} {}", answer.headers().clone(), answer.text().await.expect("text")));
    assert!(status.is_client_error(), "{status}: {text}");
    assert!(!text.to_ascii_lowercase().contains(content), "it is not repeated: {text}");
}
