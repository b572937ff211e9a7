use super::*;

const HEADER: &str = "provider,model,mode,context_tokens,max_output_tokens,input_usd_per_million,output_usd_per_million,\
                      cached_input_usd_per_million,cache_write_usd_per_million\n";

fn catalogue(rows: &str) -> PriceCatalogue {
    PriceCatalogue::parse(&format!("{HEADER}{rows}"))
}

#[test]
fn the_shipped_catalogue_is_read_whole() {
    let rows: Vec<Row> = csv::Reader::from_reader(BUILTIN.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()
        .expect("every row is well formed");
    let unpriced: Vec<_> = rows.iter().filter(|row| row.price().is_none()).collect();
    // Only pictures and sound go without a price; nothing is dropped because an amount is malformed.
    assert!(unpriced.iter().all(|row| row.tells_of_text_alone()));
    // No provider and model stand in two rows.
    assert_eq!(PriceCatalogue::builtin().len(), rows.len() - unpriced.len());
    assert!(PriceCatalogue::builtin().len() > 1500);
}

#[test]
fn no_shipped_price_is_negative() {
    for (provider, model, entry) in PriceCatalogue::builtin().iter() {
        let Price { input, output, cached_input, cache_write, image, audio_minute } = entry.price;
        let amounts = [Some(input), Some(output), cached_input, cache_write, image, audio_minute];
        assert!(amounts.into_iter().flatten().all(|price| price.as_nanos() >= 0), "{provider}/{model}");
    }
}

#[test]
fn fractions_of_a_cent_are_exact() {
    let catalogue = catalogue("openai,small,chat,1,1,0.0375,0.15,0.01875,\n");
    let price = catalogue.lookup("openai", "small").expect("priced").price;
    assert_eq!((price.input.as_nanos(), price.output.as_nanos()), (37_500_000, 150_000_000));
    assert_eq!((price.cached_input.map(PerMillion::as_nanos), price.cache_write), (Some(18_750_000), None));
}

#[test]
fn what_cannot_be_priced_is_unknown_not_free() {
    for row in ["1,,,", ",1,,", "-1,1,,", "1,1e3,,", "1,1,x,", "1,1,,-2", "0.0000000001,1,,"] {
        assert!(catalogue(&format!("openai,m,chat,1,1,{row}\n")).is_empty(), "{row}");
    }
    let free = catalogue("openai,m,chat,1,1,0,0,,\n");
    assert_eq!(free.lookup("openai", "m").map(|entry| entry.price.input.as_nanos()), Some(0));
}

#[test]
fn an_embedding_needs_no_price_for_output() {
    let catalogue = catalogue("azure,e,embedding,1,,0.143,,,\n");
    let price = catalogue.lookup("azure", "e").expect("priced").price;
    assert_eq!((price.input.as_nanos(), price.output.as_nanos()), (143_000_000, 0));
}

#[test]
fn what_text_costs_is_not_taken_for_what_pictures_and_sound_cost() {
    for mode in ["image_generation", "audio_speech", "audio_transcription"] {
        assert!(catalogue(&format!("openai,m,{mode},1,1,5,10,1.25,\n")).is_empty(), "{mode}");
    }
}
