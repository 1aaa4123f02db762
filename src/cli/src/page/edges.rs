//! Who asks the companion.

use caracal_feed::edges::{Edges, Kind};
use maud::{Markup, html};

use super::words::{ago, count, foreign, grouped};

fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Revocations => "Asked for revocations",
        Kind::Check => "Asked about a mandate",
        Kind::Exchange => "Had one exchanged",
        Kind::Audit => "Sent audit events",
    }
}

pub(super) fn table(edges: &Edges) -> Markup {
    let (list, forgotten) = edges.list();
    html! {
        section aria-labelledby="edges" {
            h2 #edges { "Edges" }
            @if list.is_empty() {
                p { "No edge has asked since the companion started." }
            } @else {
                table .edges {
                    caption { "Addresses that asked since the companion started. Proxies behind one address are one line." }
                    thead { tr {
                        th scope="col" { "Address" }
                        th scope="col" { "Program" }
                        @for kind in Kind::ALL { th scope="col" { (heading(kind)) } }
                        th scope="col" { "Under way" }
                    } }
                    tbody {
                        @for edge in &list {
                            tr {
                                th scope="row" { (edge.address) }
                                td { @if !edge.agent.is_empty() { (foreign(&edge.agent)) } }
                                @for kind in Kind::ALL {
                                    td {
                                        @match edge.ago.get(&kind) {
                                            Some(length) => (ago(*length)),
                                            None => "never",
                                        }
                                    }
                                }
                                td { (grouped(edge.under_way.into())) }
                            }
                        }
                    }
                }
            }
            @if forgotten > 0 {
                p { (count(forgotten, "other address")) " were forgotten, because there are too many." }
            }
        }
    }
}
