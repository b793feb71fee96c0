cargo lambda watch --env-file target/demo/functions.env
