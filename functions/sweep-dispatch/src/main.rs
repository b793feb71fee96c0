//! The entry point of the `sweep-dispatch` function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    sweep_dispatch::run().await
}
