//! The entry point of the `image-sweep` function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    image_sweep::run().await
}
