//! The entry point of the `scan-complete` function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    scan_complete::run().await
}
