//! The bootstrap of what judges pushes.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    image_push::run().await
}
