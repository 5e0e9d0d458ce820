//! Races against other tools, in turn, in one run. The ratio counts, because the speed of machines varies. Names on the
//! command line select races.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench reports, or stops")]

mod bundles;
mod compress;
mod list;
#[path = "../../tests/support/noise.rs"]
mod noise;
#[path = "../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "the tests ask more of it")]
mod postgres;
mod server;
mod table;

type Race = fn(&mut table::Table);

fn main() {
    let mut table = table::Table::new("races");
    let races: [(&str, Race); 4] = [
        ("compress", compress::one_pass),
        ("dump", compress::a_server_s_dump),
        ("bundles", bundles::all),
        ("list", list::all),
    ];
    let chosen: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, race) in races {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            race(&mut table);
        }
    }
}
