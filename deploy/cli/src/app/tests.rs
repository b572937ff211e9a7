use clap::CommandFactory;

use super::*;

#[test]
fn the_arguments_contradict_nothing() {
    Arguments::command().debug_assert();
}

#[test]
fn help_says_what_can_be_asked_and_how_it_ends() {
    let help = Arguments::command().term_width(100).render_help().to_string();
    insta::assert_snapshot!(help, @r"
    Operates the regions of a Bailiwick installation

    Usage: bailiwick [OPTIONS] <COMMAND>

    Commands:
      context          The contexts: which regions there are, and how to reach them
      org              Organizations
      key              API keys, which applications present
      service-account  Service accounts: programs of an organization that administer it
      token            Exchanges a service account's secret for a bearer token, and prints it
      credential       Providers' secrets
      model            Models: public names, and the deployments behind them
      deployment       Deployments: where a provider serves a model
      limit            Limits: how much of requests, tokens and money calls may use
      price            Prices that the operator has agreed with organizations
      worker           Workers and routers
      usage            What calls have used and cost
      audit            Who changed what
      region           The region itself
      config           What workers act on
      check            Checks a region from certificate to router; exit code 1 when anything is wrong
      diagnose         Looks at all that can be seen from here, also while the control plane is down
      verify           Proves that regions are apart, by attacking them
      completions      Prints a script that completes commands
      help             Print this message or the help of the given subcommand(s)

    Options:
          --context <NAME>   Which context to use
          --region <NAME>    Which region to ask, where only one context is of that region
      -o, --output <FORMAT>  How to print answers [default: table] [possible values: table, json]
      -h, --help             Print help (see more with '--help')
      -V, --version          Print version

    Exit codes:
      0  done
      1  failed, or a check did not pass
      2  the arguments, or the configuration of contexts, are wrong
      3  the control plane cannot be reached
      4  the control plane denies it to this caller
      5  not found

    Environment:
      BAILIWICK_CONFIG  the file of contexts, instead of ~/.config/bailiwick/contexts.toml
      BAILIWICK_LOCAL   the description of a local installation; used before the usual file of contexts
      NO_COLOR          no colours; there are none outside a terminal
    ");
}

#[test]
fn wrong_arguments_end_with_two_and_help_with_zero() {
    let run = |arguments: &[&str]| {
        let arguments = std::iter::once("bailiwick").chain(arguments.iter().copied());
        run_with(arguments.map(OsString::from), &Environment::default())
    };
    assert_eq!(run(&["nonsense"]), Exit::Usage);
    assert_eq!(run(&["key", "revoke", "key_x", "--timeout", "3"]), Exit::Usage, "--timeout is --wait's");
    assert_eq!(run(&["--help"]), Exit::Done);
}

#[test]
fn a_providers_secret_cannot_be_an_argument() {
    let good = ["bailiwick", "credential", "create", "--org", "org_x", "--name", "n"];
    assert!(Arguments::try_parse_from(good).is_ok());
    for secret in [["--secret", "sk-x"].as_slice(), &["sk-x"]] {
        assert!(Arguments::try_parse_from(good.iter().chain(secret)).is_err());
    }
}
