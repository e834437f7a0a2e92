//! `mimi-hub demo`: three providers on this machine play the example flow of draft-ietf-mimi-protocol, section 3, with a
//! power cut at the hub in the middle of it.
//!
//! | module | owns |
//! |---|---|
//! | `play` | the steps; the server processes are in `providers` |
//! | `assets` | a server of attached files on the web |
//! | `audit` | what must hold after every step, and the count of messages |
//! | `report` | what is said about it, to people and to programs |

mod assets;
mod audit;
mod play;
mod report;

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::folder::Folder;
use crate::{OpsError, terminal};
use play::Play;
use report::Report;

/// Play the MIMI example flow over three providers on this machine.
///
/// Starts a hub (a.example) and two follower providers (b.example, c.example), lets Alice, Bob and Cathy create a room,
/// add each other, talk and leave, kills the hub in the middle of the conversation, and checks after every step that all
/// clients and the hub agree. Stays up afterwards to be looked at, until Ctrl-C.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// End when the play is over, instead of staying up.
    #[arg(long)]
    exit: bool,
    /// Print a JSON object with the results as the last line of the play.
    #[arg(long)]
    json: bool,
    /// Nodes of the hub's cluster: 1, 3, 5 or 7. One is lost on the way, and the others must be a majority.
    #[arg(long, default_value_t = 1, value_parser = number_of_nodes)]
    nodes: u16,
    /// Folder for certificates, configuration, data and logs; it must be empty or missing, and is kept. Without it a
    /// temporary folder is used, which is kept only when something fails.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Two nodes would not survive the loss of one, and four survive no more losses than three.
fn number_of_nodes(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(nodes @ (1 | 3 | 5 | 7)) => Ok(nodes),
        _ => Err("1, 3, 5 or 7 nodes can be played with".to_owned()),
    }
}

/// Carries out `mimi-hub demo`. The server processes are this same program, started with `serve --config FILE`.
///
/// # Errors
/// [`OpsError::DemoFailed`] when a step failed, [`OpsError::Usage`] for a folder that is not empty, or what kept the demo
/// from starting.
pub async fn run(args: DemoArgs) -> Result<(), OpsError> {
    let folder = Folder::open(args.dir.as_deref(), "mimi-demo-")?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| OpsError::Usage(error.to_string()))?;
    let mut report = Report::default();
    terminal::line(&format!("MIMI demo in {}", folder.path().display()));

    // The providers stop when the play is dropped, however that comes about.
    let mut play = Play::new(folder.path(), args.nodes)?;
    let interrupted = tokio::select! {
        () = Box::pin(play.run(&mut report)) => false,
        _ = tokio::signal::ctrl_c() => true,
        _ = terminate.recv() => true,
    };
    if interrupted {
        report.interrupted();
    }
    play.finish(&mut report);
    report.print_summary();
    if report.is_failed() {
        terminal::line(&format!("The logs are kept in {}", folder.path().display()));
    } else if !args.exit {
        play.print_tour();
    }
    if args.json {
        terminal::line(&report.to_json()?);
    }
    if !args.exit && !interrupted && !report.is_failed() {
        terminal::line("Running until Ctrl-C.");
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    play.stop().await;
    folder.close(report.is_failed())?;
    report.into_result()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(nodes: u16, dir: Option<PathBuf>) -> DemoArgs {
        DemoArgs {
            exit: true,
            json: false,
            nodes,
            dir,
        }
    }

    #[test]
    fn a_number_of_nodes_that_does_not_survive_the_play_is_refused() {
        for good in ["1", "3", "5", "7"] {
            assert!(number_of_nodes(good).is_ok(), "{good}");
        }
        for bad in ["0", "2", "4", "9", "-1", "three", ""] {
            assert!(number_of_nodes(bad).unwrap_err().contains("3, 5 or 7"), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("precious"), "x").unwrap();
        let refused = Box::pin(run(args(1, Some(folder.path().to_owned()))))
            .await
            .unwrap_err();
        assert!(
            matches!(&refused, OpsError::Usage(text) if text.contains("not empty")),
            "{refused}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// Started as a server, this test program refuses its arguments and ends.
    #[tokio::test]
    async fn a_provider_that_does_not_start_fails_the_demo_and_its_log_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("demo");
        let failed = Box::pin(run(args(1, Some(dir.clone())))).await.unwrap_err();
        assert!(
            matches!(failed, OpsError::DemoFailed { failed: 1, steps: 1 }),
            "{failed}"
        );
        assert_ne!(std::fs::read_to_string(dir.join("a.example/mimi-hub.log")).unwrap(), "");
    }
}
