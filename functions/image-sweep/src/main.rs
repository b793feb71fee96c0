//! The bootstrap of what cleans up.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    image_sweep::run().await
}
