//! The two databases that every scenario runs on.

use super::postgres::Cluster;

/// A database engine of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The embedded default.
    Sqlite,
    /// A throw-away cluster, or the server of `ODH_TEST_POSTGRES_URL`.
    Postgres,
}

impl Engine {
    /// The URL of an empty database; none, after a visible line, if there is no server.
    pub(crate) async fn database(self, name: &str) -> Option<String> {
        match self {
            Self::Sqlite => Some("sqlite://{data_dir}/hub.db".to_owned()),
            Self::Postgres => {
                let cluster = tokio::task::spawn_blocking(Cluster::shared).await.unwrap()?;
                Some(cluster.create_database(name).await)
            }
        }
    }
}

/// Makes of each `async fn name(hub: &mut Hub)` the tests `name::on_sqlite` and `name::on_postgres`.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::harness::{Engine, Hub};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                run(Engine::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                run(Engine::Postgres).await;
            }

            async fn run(engine: Engine) {
                let Some(mut hub) = Hub::start(engine, stringify!($name)).await else { return };
                Box::pin(super::$name(&mut hub)).await;
                hub.stop().await;
            }
        }
    )+};
}

pub(crate) use on_both_engines;
