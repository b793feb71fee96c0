//! `cargo run --package drivers --bin local-aws -- [PORT]`: the embedded AWS on a port, for the AWS CLI,
//! boto3, skopeo and Docker.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a person reads the endpoint")]

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use clap::Parser;
use ecr_warden::arguments;
use local_aws::LocalAws;

/// Serves the embedded AWS on a port until the process is interrupted.
#[derive(Parser)]
#[command(name = "local-aws")]
struct Options {
    /// The port on 127.0.0.1; 0 takes any free port.
    #[arg(default_value_t = 4566, value_parser = port)]
    port: u16,
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "expected a port, from 0 to 65535")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options: Options = match arguments::parse() {
        Ok(options) => options,
        Err(exit_code) => return exit_code,
    };
    match serve(options.port).await {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("local-aws: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(port: u16) -> anyhow::Result<Infallible> {
    let aws = LocalAws::default();
    let server = aws.serve((Ipv4Addr::LOCALHOST, port).into()).await?;
    println!("export AWS_ENDPOINT_URL={}", server.endpoint());
    println!("export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=any", local_aws::ACCOUNT);
    println!("export AWS_DEFAULT_REGION={}", local_aws::REGION);
    eprintln!("local-aws: serving until you press Ctrl-C; run the lines above in another shell");
    std::future::pending().await
}
