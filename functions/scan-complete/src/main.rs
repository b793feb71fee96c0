//! The bootstrap of `scan-complete`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    scan_complete::run().await
}
