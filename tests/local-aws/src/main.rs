//! `cargo run --package local-aws -- [PORT]`: the embedded AWS on a port, for the AWS CLI,
//! boto3, skopeo and Docker.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it does is for reading")]

use std::net::Ipv4Addr;
use std::process::ExitCode;

use local_aws::LocalAws;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match serve(&arguments).await {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("local-aws: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: &[String]) -> Result<std::convert::Infallible, String> {
    let usage = || format!("expected a port, from 0 to 65535, got {:?}", arguments.join(" "));
    let port: u16 = match arguments {
        [] => 4566,
        [port] => port.parse().map_err(|_| usage())?,
        _ => return Err(usage()),
    };
    let aws = LocalAws::default();
    let server = aws.serve((Ipv4Addr::LOCALHOST, port).into()).await;
    let server = server.map_err(|error| error.to_string())?;
    println!("export AWS_ENDPOINT_URL={}", server.endpoint());
    println!("export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=any", local_aws::ACCOUNT);
    println!("export AWS_DEFAULT_REGION={}", local_aws::REGION);
    eprintln!("local-aws: serving until it is interrupted; in another shell, the lines above");
    std::future::pending().await
}
