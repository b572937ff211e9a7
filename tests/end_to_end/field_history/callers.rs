//! What a caller of the public API can say.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bailiwick_tests::{
    admin::Admin,
    calls::{Application, refusal},
    eventually,
    installation::{Installation, Region},
    process::{Owned, binary},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{CREDENTIAL, REGION, echoing, exchange_with, exchange_with_worker, status_of, told};

/// Somewhere that nothing may be sent to.
struct Trap {
    address: String,
    caught: Arc<AtomicU64>,
    _listening: JoinSet<()>,
}

impl Trap {
    async fn set(installation: &Installation) -> Self {
        let listener = TcpListener::bind((installation.outside, 0)).await.expect("a port");
        let (address, caught) =
            (listener.local_addr().expect("address").to_string(), Arc::<AtomicU64>::default());
        let (counted, mut listening) = (Arc::clone(&caught), JoinSet::new());
        listening.spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { address, caught, _listening: listening }
    }
}

/// Where gateways have let callers name the upstream.
const NAMES: [&str; 16] = [
    "api_base",
    "base_url",
    "api_key",
    "endpoint",
    "azure_endpoint",
    "host",
    "proxy",
    "upstream",
    "custom_host",
    "aws_bedrock_runtime_endpoint",
    "custom_llm_provider",
    "langfuse_host",
    "callback_url",
    "webhook",
    "fallbacks",
    "url",
];
const HEADERS: [&str; 14] = [
    "host",
    "x-api-base",
    "x-base-url",
    "api-base",
    "x-portkey-custom-host",
    "helicone-target-url",
    "x-target-url",
    "x-upstream",
    "x-forwarded-host",
    "x-original-url",
    "x-rewrite-url",
    "x-litellm-api-base",
    "location",
    "openai-base-url",
];

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_cannot_say_where_the_provider_is() {
    let (installation, _admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let application = Application::of(region);
    // The region's egress policy would admit this address: it is no help here.
    let trap = Trap::set(&installation).await;
    let elsewhere = format!("http://{}/v1", trap.address);
    let messages = json!([{"role": "user", "content": "to the right one"}]);
    let named =
        |value: &Value| Value::Object(NAMES.iter().map(|name| ((*name).to_owned(), value.clone())).collect());
    let mut flat = named(&json!(elsewhere));
    flat["model"] = json!("echo");
    flat["messages"] = messages.clone();
    let inner = named(&json!(elsewhere));
    let nested = json!({"model": "echo", "messages": messages, "metadata": inner, "extra_body": inner, "litellm_params": inner,
        "user_config": {"model_list": [{"model_name": "echo", "litellm_params": inner}]}, "tools": [{"type": "function", "function": inner}],
        "fallbacks": [inner], "extra_headers": {"x-api-base": elsewhere, "authorization": "Bearer x"}, "model_info": {"a": [[inner]]}});
    for body in [flat, nested] {
        let answer = application.post("/chat/completions", &body).await.expect("answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(content(&answer.json().await.expect("JSON")), "to the right one");
    }
    let plain = json!({"model": "echo", "messages": messages});
    for header in HEADERS {
        let url =
            format!("{}/chat/completions?api_base={elsewhere}&base_url={elsewhere}", application.base_url);
        let value = if header == "host" { &trap.address } else { &elsewhere };
        let asked =
            application.http.post(url).bearer_auth(&application.key).header(header, value).json(&plain);
        assert_eq!(asked.send().await.expect("answer").status(), 200, "{header}");
    }
    // As a proxy would be asked; and a model that is an address.
    let text = plain.to_string();
    let answer = exchange_with(&region.processes.router.address, format!(
        "POST http://{}/v1/chat/completions HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        trap.address, trap.address, application.key, text.len())).await;
    assert!(answer.contains("to the right one"), "{answer}");
    for model in [elsewhere.clone(), format!("openai/{elsewhere}"), format!("echo@{elsewhere}")] {
        let refused = refusal(application.chat(&model, "x", false).await.expect("answer")).await;
        assert_eq!(refused.code, "model_not_found");
    }
    let answer = exchange_with(
        &region.processes.router.address,
        format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\n\r\n", trap.address),
    )
    .await;
    assert_ne!(status_of(&answer), 200, "{answer}");
    assert_eq!(trap.caught.load(Ordering::Relaxed), 0, "somebody went where a caller pointed");
    drop(TcpStream::connect(&trap.address).await);
    eventually("the trap works", || async { (trap.caught.load(Ordering::Relaxed) == 1).then_some(()) }).await;
}

/// What template engines, shells and formatters would do something about.
const TEMPLATES: [&str; 10] = [
    "{{7*7}}",
    "{{ self.__init__.__globals__ }}",
    "{% for x in (1,2) %}{{x}}{% endfor %}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "${jndi:ldap://127.0.0.1/a}",
    "$(id)`id`",
    "%s%n%x {0} {}",
    "@(7*7) [[7*7]] *{7*7}",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_writes_is_never_evaluated() {
    use bailiwick_proto::admin::v1 as wire;
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let application = Application::of(region);
    for template in TEMPLATES {
        let answer = application.chat("echo", template, false).await.expect("answer");
        assert_eq!(content(&answer.json().await.expect("JSON")), template);
        // Where it stands in the model's place, nothing is found, and nothing of it is told.
        let refused = refusal(application.chat(template, "x", false).await.expect("answer")).await;
        assert_eq!(refused.code, "model_not_found");
        assert!(
            !refused.message.contains("49") && !refused.message.contains(template),
            "{}",
            refused.message
        );
        // Names are what they are.
        let request = wire::CreateKeyRequest {
            idempotency_key: bailiwick_tests::admin::fresh(),
            organization_id: region.organization.clone(),
            name: template.to_owned(),
            ..Default::default()
        };
        let made = admin.keys().create_key(request).await.expect("a key").into_inner();
        assert_eq!(made.key.expect("a key").name, template);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_refused_without_being_read() {
    let (installation, _admin) = echoing(&[]).await;
    let application = Application::of(installation.region(REGION));
    let mut callers = JoinSet::new();
    let since = Instant::now();
    for boundary in ["x", "-", "", &"-".repeat(4000), "x\t \t", "\"x\\\"\"", "x; boundary=y", "--x--"] {
        for path in ["/chat/completions", "/embeddings", "/signup"] {
            let (application, boundary) = (application.clone(), boundary.to_owned());
            callers.spawn(async move {
                let body = format!("--{boundary}").repeat(2000) + "\r\n\r\n--";
                let request = application.http.post(format!("{}{path}", application.base_url));
                let request = request.bearer_auth(&application.key).body(body);
                let request =
                    request.header("content-type", format!("multipart/form-data; boundary={boundary}"));
                refusal(request.send().await.expect("an answer")).await
            });
        }
    }
    while let Some(refused) = callers.join_next().await {
        let refused = refused.expect("task");
        assert_eq!((refused.status.as_u16(), refused.code.as_str()), (415, "unsupported_media_type"));
    }
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    assert_eq!(application.chat("echo", "still here", false).await.expect("answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_header_decides_nothing() {
    let (installation, _admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let router = &region.processes.router;
    let ops = router.metrics.replace("http://", "").replace("/metrics", "");
    let ask = |path: &str, host: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
    };
    let key = format!("Authorization: Bearer {}\r\n", region.api_key);
    let hosts = [
        "localhost",
        "localhost/healthz",
        "localhost/healthz?",
        "localhost/v1/signup#",
        "admin",
        "127.0.0.1:0",
        "[::1]",
        "x@y",
        "",
        &ops,
        &region.admin_addr,
        "us-west-1.example",
        "metrics",
        "..",
        "%2fhealthz",
    ];
    for host in hosts {
        for more in [
            "",
            "X-Original-URL: /healthz\r\n",
            "X-Rewrite-URL: /v1/signup\r\n",
            "X-Forwarded-Prefix: /healthz\r\n",
        ] {
            // A path that wants a key wants one, whatever the host; what is no host at all is refused before that.
            let closed = exchange_with(&router.address, ask("/v1/models", host, more)).await;
            assert!(matches!(status_of(&closed), 400 | 401), "{host:?}: {closed}");
            let closed = exchange_with_worker(region, ask("/v1/models", host, more)).await;
            assert!(matches!(status_of(&closed), 400 | 401), "{host:?} at a worker: {closed}");
        }
        // The operational endpoints are on no public listener, whoever is named.
        for path in ["/metrics", "/healthz", "/readyz", "/v1/../metrics", "//metrics"] {
            let hidden = exchange_with(&router.address, ask(path, host, "")).await;
            assert!(matches!(status_of(&hidden), 400 | 401 | 404), "{path} {host:?}: {hidden}");
            let hidden = exchange_with(&router.address, ask(path, host, &key)).await;
            assert!(matches!(status_of(&hidden), 400 | 404), "{path} {host:?} with a key: {hidden}");
        }
        let open = exchange_with(&router.address, ask("/v1/models", host, &key)).await;
        assert!(matches!(status_of(&open), 200 | 400), "{host:?}: {open}");
    }
    // HTTP/1.1 without one is none (RFC 9112, section 3.2), HTTP/1.0 may be.
    for (version, expected) in [("1.1", 400), ("1.0", 200)] {
        let nameless = format!("GET /v1/models HTTP/{version}\r\nConnection: close\r\n{key}\r\n");
        for answer in
            [exchange_with(&router.address, &nameless).await, exchange_with_worker(region, &nameless).await]
        {
            assert_eq!(status_of(&answer), expected, "HTTP/{version}: {answer}");
        }
    }
    // Which of two was meant, nobody could say; nor is a target's own authority better than a key.
    let twice = ask("/v1/models", "localhost", "Host: admin\r\n");
    assert!(matches!(status_of(&exchange_with(&router.address, twice).await), 400 | 401));
    let absolute = ask("http://localhost/v1/models", "localhost/healthz", "");
    assert!(matches!(status_of(&exchange_with(&router.address, absolute).await), 400 | 401));
}

/// Everything that says for whom, or through whom, a request comes; in forms that were compared, split and trusted elsewhere.
fn forwarded() -> Vec<(&'static str, String)> {
    let addresses = [
        "127.0.0.1",
        "10.0.0.1, 192.0.2.7",
        "203.0.113.9,127.0.0.1",
        "unknown",
        "\"[2001:db8::1]:47011\"",
        ",,,",
        "localhost",
    ];
    let names = [
        "x-forwarded-for",
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-originating-ip",
    ];
    let mut all: Vec<_> =
        names.iter().flat_map(|name| addresses.map(|address| (*name, address.to_owned()))).collect();
    all.push(("x-forwarded-for", "127.0.0.1,".repeat(500)));
    for address in addresses {
        all.push(("forwarded", format!("for={address};proto=https;by=127.0.0.1;host=admin")));
    }
    for (name, value) in [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "admin"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-user", "operator"),
        ("x-forwarded-prefix", "/healthz"),
        ("via", "1.1 router"),
        ("x-bailiwick-region", "us-west-1"),
        ("x-envoy-internal", "true"),
        (
            "x-forwarded-client-cert",
            "By=spiffe://eu-central-1.local/worker/worker-1;URI=spiffe://eu-central-1.local/operator/operator",
        ),
    ] {
        all.push((name, value.to_owned()));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_header_changes_nothing() {
    let (installation, _admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let application = Application::of(region);
    let url = format!("{}/models", application.base_url);
    let foreign = &installation.region("us-west-1").api_key;
    for key in [region.api_key.as_str(), &region.api_key[..50], foreign] {
        let plain = told(application.http.get(&url).bearer_auth(key).send().await.expect("answer")).await;
        for (name, value) in forwarded() {
            let asked = application.http.get(&url).bearer_auth(key).header(name, &value);
            let answer = told(asked.send().await.expect("answer")).await;
            assert_eq!(answer, plain, "{name}: {value:.60}");
        }
        // All at once: more headers than anybody needs, and still the same answer.
        let mut asked = application.http.get(&url).bearer_auth(key);
        for (name, value) in forwarded().into_iter().step_by(4) {
            asked = asked.header(name, value);
        }
        assert_eq!(told(asked.send().await.expect("answer")).await, plain);
    }
    // Where no hop is named, the PROXY protocol is not spoken: its preface is no request.
    let request = format!(
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        region.api_key
    );
    let second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x1f\x90\x01\xbb".to_vec();
    for preface in
        [b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(), b"PROXY UNKNOWN\r\n".to_vec(), second]
    {
        let bytes = [preface, request.clone().into_bytes()].concat();
        for answer in [
            exchange_with(&region.processes.router.address, &bytes).await,
            exchange_with_worker(region, &bytes).await,
        ] {
            assert!(answer.is_empty() || status_of(&answer) == 400, "{answer}");
        }
    }
}

/// A tenant with a provider of its own, which accepts its credential alone.
struct Tenant {
    application: Application,
    _provider: Owned,
    provider: String,
}

impl Tenant {
    async fn new(installation: &Installation, admin: &Admin, region: &Region, number: u16) -> Self {
        let secret = format!("{CREDENTIAL}-{number}");
        let address = format!("{}:{}", installation.outside, installation.spare_port + number);
        let program = binary("bailiwick-simulated-provider").display().to_string();
        let command = [program.as_str(), "--listen", &address, "--api-key", &secret].map(str::to_owned);
        let process = Owned::start(&command, &installation.folder().join(format!("provider-{number}.log")));
        let provider = format!("http://{address}");
        eventually("its provider answers", || async {
            reqwest::get(format!("{provider}/v1/models")).await.ok()
        })
        .await;
        let organization = admin.new_organization(REGION).await;
        let credential = admin.new_credential(&organization, &secret).await;
        // Both call it the same, and so does the provider.
        let endpoint = format!("{provider}/v1");
        let revision =
            admin.new_model(&organization, "shared", &endpoint, "simulated-echo", &credential).await;
        admin.applied(revision).await;
        let (_, key) = admin.new_key(&organization).await;
        let application = Application::new(&region.base_url, &key);
        eventually("its key is known", || async {
            let url = format!("{}/models", application.base_url);
            let answer = application.http.get(url).bearer_auth(&application.key).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        Self { application, _provider: process, provider }
    }

    async fn served(&self) -> Value {
        let url = format!("{}/simulated/served", self.provider);
        reqwest::get(url).await.expect("served").json().await.expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_one_tenant_never_reach_another() {
    const CALLS: usize = 60;
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let tenants = [
        Tenant::new(&installation, &admin, region, 0).await,
        Tenant::new(&installation, &admin, region, 1).await,
    ];
    let mut callers = JoinSet::new();
    for number in 0..CALLS {
        for (tenant, name) in tenants.iter().zip(["one", "two"]) {
            let application = tenant.application.clone();
            callers.spawn(async move {
                // Every third says exactly what the other tenant says.
                let text = if number % 3 == 0 { "the same".to_owned() } else { format!("{name} {number}") };
                let stream = number % 2 == 0;
                let answer = application.chat("shared", &text, stream).await.expect("answer");
                assert_eq!(answer.status(), 200);
                let answer = answer.text().await.expect("text");
                let other = if name == "one" { "two " } else { "one " };
                assert!(!answer.contains(other), "{name} was told what the other asked: {answer}");
                let own = text.split(' ').next_back().expect("a word");
                assert!(answer.contains(own), "{answer}");
            });
        }
    }
    while let Some(done) = callers.join_next().await {
        done.expect("served its own");
    }
    // Each call was answered by its own tenant's provider: none from memory, none by the other's.
    for tenant in &tenants {
        let served = tenant.served().await;
        assert_eq!(
            (served["started"].as_u64(), served["unauthorized"].as_u64()),
            (Some(CALLS as u64), Some(0)),
            "{served}"
        );
    }
}
