//! What a live page promises, on a made-up province of which some counties are done.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

#[allow(dead_code, reason = "shared with the tests of finished reports")]
mod fixture;

use std::time::Duration;

use fixture::{Fixture, HOSTILE, province};
use report::live::{self, CountyStanding, FailedJob, Findings, HeldJob, StageStanding, Standing, State, View, Worker};
use report::{CountyOutcome, summary};
use survey::grid::PixelRect;
use survey::job::JobKey;
use survey::result::CountyResult;

fn standing(state: State) -> Standing {
    let stage = |name, jobs, running, done, failed| StageStanding { name, jobs, running, done, failed };
    Standing {
        id: "north-1f2e".to_owned(),
        name: HOSTILE.to_owned(),
        state,
        message: String::new(),
        stages: vec![stage("calibrate", 4, 0, 4, 0), stage("detect", 200, 3, 120, 1), stage("assemble", 6, 0, 1, 0)],
        cost_done: 6_100,
        cost_total: 10_000,
        seconds_left: Some(754.0),
        attempts_failed: 3,
        leases_expired: 0,
        repaired: 0,
        alarms: 0,
        failed_jobs: vec![FailedJob {
            job: "detect/3/-7".to_owned(),
            class: "bad-input".to_owned(),
            message: HOSTILE.to_owned(),
        }],
        problem: None,
    }
}

fn workers() -> Vec<Worker> {
    let job = |survey: &str, county| HeldJob {
        survey: survey.to_owned(),
        key: Some(JobKey::Assemble(county)),
        held: Duration::from_secs(12),
    };
    let worker = |name: &str, silent, jobs| Worker {
        name: name.to_owned(),
        silent: Duration::from_secs(silent),
        memory_total: 4 << 30,
        memory_free: 1 << 30,
        is_draining: false,
        jobs,
    };
    vec![worker(HOSTILE, 1, vec![job("north-1f2e", 1)]), worker("far", 40, vec![job("other", 0)])]
}

fn results(fixture: &Fixture) -> Vec<&CountyResult> {
    let results = fixture.outcomes.iter().filter_map(|outcome| match outcome {
        CountyOutcome::Surveyed(result) => Some(&**result),
        _ => None,
    });
    results.collect()
}

/// Kyongsong (factory and housing) and Orang (half under cloud) are done, Chongjin runs, Yonsa has failed.
fn half_done<'a>(results: &[&'a CountyResult]) -> Vec<CountyStanding<'a>> {
    use CountyStanding::{Failed, Pending, Running, Surveyed};
    vec![
        Surveyed(results[0]),
        Running,
        Pending,
        Pending,
        Surveyed(results[4]),
        Failed { reason: HOSTILE, pixels: 7_000_000 },
    ]
}

fn view(fixture: &Fixture, counties: &[CountyStanding<'_>], open: Option<&str>) -> View {
    let findings = Findings { plan: &fixture.plan, counties, notes: &fixture.notes, open };
    live::survey(&standing(State::Running), &workers(), Some(&findings)).unwrap()
}

fn part<'a>(view: &'a View, name: &str) -> &'a str {
    &view.part(name).unwrap_or_else(|| panic!("{name} is missing")).html
}

/// The row of a county in its table.
fn row<'a>(findings: &'a str, county: &str) -> &'a str {
    let table = findings.split("id=\"county-table\"").nth(1).unwrap();
    let row = table.split("<tr").find(|row| row.contains(&format!("data-county=\"{county}\""))).unwrap();
    row.split("</tr>").next().unwrap()
}

fn ground<'a>(findings: &'a str, county: &str) -> &'a str {
    let group =
        findings.split("<g class=\"county").find(|group| group.contains(&format!("data-county=\"{county}\""))).unwrap();
    group.split("class=\"ground ").nth(1).unwrap().split('"').next().unwrap()
}

#[test]
fn counties_that_are_done_are_shown_with_their_findings_while_others_run_or_wait() {
    let fixture = province();
    let results = results(&fixture);
    let view = view(&fixture, &half_done(&results), None);
    let findings = part(&view, "findings");
    let shown = |county| (row(findings, county), ground(findings, county));
    let (kyongsong, fill) = shown("KP0216");
    assert!(kyongsong.contains("with gaps") && kyongsong.contains("0.98") && fill == "f2", "{kyongsong} {fill}");
    let (chongjin, fill) = shown("KP0204");
    assert!(chongjin.contains(">running<") && chongjin.contains("not yet") && fill == "working", "{chongjin} {fill}");
    let (waiting, fill) = shown("KP0211");
    assert!(waiting.contains(">pending<") && waiting.contains("not yet") && fill == "waiting", "{waiting} {fill}");
    let (failed, fill) = shown("KP0222");
    assert!(failed.contains(">failed<") && fill == "none unfinished", "{failed} {fill}");
    // Kyongsong has two sites and Orang one.
    assert_eq!(findings.matches("<article class=\"card\"").count(), 3);
    let head = part(&view, "head");
    assert!(head.contains("So far, in 3 of 6 counties: 1 probable factory site found in 1 of 3 counties"), "{head}");
    assert!(part(&view, "standing").contains("3 of 6 counties done, 1 being surveyed, 1 failed"));
}

#[test]
fn gaps_by_reason_are_those_of_the_counties_that_are_done() {
    let fixture = province();
    let results = results(&fixture);
    let view = view(&fixture, &half_done(&results), None);
    let gaps = part(&view, "findings").split("What was not seen").nth(1).unwrap();
    let pixels = |words: &str| -> u64 {
        let row = gaps.split("<tr>").skip(1).find(|row| row.contains(words)).unwrap();
        let cell = row.split("<td class=\"num\">").nth(1).unwrap().split('<').next().unwrap();
        cell.replace(',', "").parse().unwrap()
    };
    assert_eq!(pixels("compared"), results[0].coverage.surveyed + results[4].coverage.surveyed);
    assert_eq!(pixels("cloud"), results[4].coverage.cloud);
    assert_eq!(pixels("no data"), 1 + 1_000_000);
    assert_eq!(pixels("no scene pair"), 0, "Myongchon has none, and is not done");
    assert_eq!(pixels("failed job"), 1_000_000 + 7_000_000);
}

#[test]
fn an_open_county_shows_all_of_its_sites_and_no_others_with_chips_that_the_survey_serves() {
    let fixture = province();
    let results = results(&fixture);
    let view = view(&fixture, &half_done(&results), Some("KP0216"));
    let findings = &part(&view, "findings").replace("&#x2f;", "/");
    let cards: Vec<&str> = findings.split("<article class=\"card\"").skip(1).collect();
    assert_eq!(cards.len(), results[0].sites.len());
    assert!(cards.iter().all(|card| card.contains("data-county=\"KP0216\"")));
    for chip in &results[0].chips {
        assert!(findings.contains(&format!("src=\"north-1f2e/chips/{}\"", chip.name)), "{}", chip.name);
    }
    assert!(row(findings, "KP0216").contains("class=\"chosen\""));
    assert!(row(findings, "KP0204").contains("href=\"north-1f2e?county=KP0204#h-sites\""));
}

#[test]
fn no_text_of_a_stranger_becomes_markup_and_no_script_stands_in_a_page() {
    let fixture = province();
    let results = results(&fixture);
    let survey = view(&fixture, &half_done(&results), Some(HOSTILE)).page().unwrap();
    let index = live::index(&[standing(State::Running)], &workers()).unwrap().page().unwrap();
    for page in [&survey, &index] {
        assert!(page.contains("&lt;&#x2f;script&gt;"), "the hostile text is there");
        assert!(!page.contains("<script>") && !page.contains("alert(\""), "it would run");
        // One script, from a file of ours; no style element; no handler in an attribute.
        assert_eq!(page.matches("<script").count(), 1);
        assert!(!page.contains("<style") && !page.contains(" onerror=") && !page.contains("javascript:"));
        // Whatever is loaded or led to lies at the same place.
        for link in page.split(" src=\"").skip(1).chain(page.split(" href=\"").skip(1)) {
            let link = link.split('"').next().unwrap();
            assert!(!link.contains(':') && !link.starts_with("//"), "{link}");
        }
    }
}

#[test]
fn only_what_changed_has_another_version() {
    let fixture = province();
    let results = results(&fixture);
    let mut counties = half_done(&results);
    let versions = |view: &View| view.parts.iter().map(|part| part.version.clone()).collect::<Vec<_>>();
    let first = versions(&view(&fixture, &counties, None));
    assert_eq!(first, versions(&view(&fixture, &counties, None)));
    let findings = Findings { plan: &fixture.plan, counties: &counties, notes: &fixture.notes, open: None };
    let further = Standing { cost_done: 6_200, ..standing(State::Running) };
    let later = versions(&live::survey(&further, &workers(), Some(&findings)).unwrap());
    assert!(first[0] == later[0] && first[1] != later[1] && first[2] == later[2], "{first:?} {later:?}");
    counties[1] = CountyStanding::Surveyed(results[1]);
    let done = versions(&view(&fixture, &counties, None));
    assert!(first[0] != done[0] && first[2] != done[2], "{first:?} {done:?}");
}

#[test]
fn a_survey_that_is_planned_has_a_page_and_one_that_is_over_leads_to_its_report() {
    let planned = Standing { stages: vec![], cost_total: 0, cost_done: 0, ..standing(State::Planning) };
    let page = live::survey(&planned, &[], None).unwrap().page().unwrap();
    assert!(page.contains("It is being planned") && !page.contains("report.html"));
    let fixture = province();
    let results = results(&fixture);
    let counties = half_done(&results);
    let findings = Findings { plan: &fixture.plan, counties: &counties, notes: &[], open: None };
    let over = live::survey(&standing(State::CompleteWithGaps), &[], Some(&findings)).unwrap();
    assert!(over.is_over && part(&over, "head").contains("href=\"north-1f2e/results/report.html\""));
}

#[test]
fn the_root_page_names_surveys_and_workers_and_shouts_alarms() {
    let quiet = live::index(&[standing(State::Complete)], &workers()).unwrap();
    assert!(!part(&quiet, "index").contains("other bytes") && quiet.title == "Groundbreak");
    let alarmed = Standing { alarms: 2, ..standing(State::Running) };
    let index = live::index(&[standing(State::Complete), alarmed], &workers()).unwrap();
    let html = part(&index, "index");
    assert!(html.contains("2 completions with other bytes"), "{html}");
    assert!(
        html.contains("61.0 %") && html.contains("about 13 min left") && html.contains("3.0 GiB of 4.0 GiB"),
        "{html}"
    );
    assert!(html.contains("<td class=\"bad\">40 s ago</td>"), "a silent worker is pointed out: {html}");
}

#[test]
fn a_county_is_being_worked_on_where_a_tile_touches_it() {
    let fixture = province();
    let plan = &fixture.plan;
    for (index, county) in plan.counties.iter().enumerate() {
        // The pixel under a vertex of its border is in it or beside it.
        let at = county.border.0[0].exterior().0[0];
        let (row, col) = plan.grid.to_pixel(at.x, at.y);
        let rect = PixelRect::new(row as i32 - 1, col as i32 - 1, row as i32 + 2, col as i32 + 2);
        assert!(live::counties_in(plan, rect).contains(&index), "{}", county.id);
    }
    assert!(live::counties_in(plan, PixelRect::new(0, 0, 10, 10)).is_empty());
    assert_eq!(live::counties_in(plan, PixelRect::new(-1 << 29, -1 << 29, 1 << 29, 1 << 29)).len(), 6);
}

#[test]
fn the_pixels_of_a_county_without_a_result_are_those_that_its_report_counts() {
    let fixture = province();
    let input = fixture.input();
    let yonsa = summary::counties(&input).unwrap().pop().unwrap();
    assert_eq!(yonsa.county.id.as_ref(), "KP0222");
    assert_eq!(live::owned_pixels(&fixture.plan, [5])[&5], yonsa.coverage.failed_job);
    assert!(live::owned_pixels(&fixture.plan, []).is_empty());
}
