//! The bootstrap of every function in the tests.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    it::serve(&std::env::var("_HANDLER")?).await
}
