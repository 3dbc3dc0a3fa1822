//! Pages are clicked through, at two widths.

use freestone_pictures::lab::{Lab, Policy, State, page};
use libtest_mimic::Failed;

use crate::browser::Browser;
use crate::service::{Faults, sources};

/// The keys of the WebDriver standard.
const LEFT: &str = "\u{e012}";
const RIGHT: &str = "\u{e014}";
const DOWN: &str = "\u{e015}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

fn ensure(holds: bool, what: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what.to_owned().into()) }
}

/// Nothing but what may scroll by itself is wider than the window.
fn fits(browser: &Browser) -> Result<(), Failed> {
    let wide =
        browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")?;
    ensure(wide.as_i64().unwrap_or(1) <= 0, &format!("the page is {wide} pixels too wide"))
}

/// Every section that the navigation leads to.
fn sections(browser: &Browser, prefix: &str) -> Result<(), Failed> {
    let ids = browser.run("return [...document.querySelectorAll('nav a')].map((a) => a.hash)")?;
    for id in ids.as_array().into_iter().flatten().filter_map(|id| id.as_str()) {
        browser
            .run(&format!("document.querySelector(\"{id}\").scrollIntoView({{ behavior: 'instant' }})"))?;
        let height = browser.run(&format!("return document.querySelector(\"{id}\").offsetHeight"))?;
        ensure(height.as_i64() > Some(60), &format!("{id} is empty"))?;
        browser.picture(&format!("{prefix}-{}", id.trim_start_matches('#')))?;
    }
    Ok(())
}

pub fn report() -> Result<(), Failed> {
    let html = sources(Faults::ALL).page();
    for width in [1280, 380] {
        let browser = Browser::show(&html, width)?;
        browser.is_content()?;
        fits(&browser)?;
        sections(&browser, &format!("report-{width}"))?;

        // The first finding names the leak and leads to the picture of it.
        ensure(browser.text(".findings li")?.contains("sessions::remember"), "the leak is not first")?;
        browser.click(".findings li a")?;
        ensure(browser.run("return location.hash")? == "#timeline", "the link leads nowhere")?;

        // A chart is read by keys.
        let frame = "#timeline .frame";
        browser.keys(frame, RIGHT)?;
        let first = browser.text("#timeline .readout")?;
        browser.keys(frame, &RIGHT.repeat(30))?;
        let later = browser.text("#timeline .readout")?;
        ensure(first != later && later.contains("live, as asked for"), &later)?;
        browser.keys(frame, LEFT)?;
        ensure(browser.text("#timeline .readout")? != later, "the left arrow does nothing")?;

        flame(&browser)?;
        tables(&browser)?;

        // The slider moves the map.
        let says = "#map .says";
        browser.run("document.querySelector('#map .moments').value = 63; document.querySelector('#map .moments').dispatchEvent(new Event('input'))")?;
        let last = browser.text(says)?;
        browser.keys("#map .moments", &LEFT.repeat(20))?;
        ensure(browser.text(says)? != last, "the slider moves nothing")?;
        let painted = browser.run(
            "const c = document.querySelector('#map canvas.moment'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; \
             const s = new Set(); for (let i = 0; i < d.length; i += 4) s.add(d[i]); return s.size",
        )?;
        ensure(painted.as_i64() > Some(2), "the map is blank")?;

        // In the dark.
        browser.click("button.theme")?;
        let ground = browser.run("return getComputedStyle(document.body).backgroundColor")?;
        ensure(ground == "rgb(13, 17, 23)", &format!("the ground is {ground}"))?;
        sections(&browser, &format!("report-dark-{width}"))?;
        browser.is_content()?;
    }
    Ok(())
}

fn flame(browser: &Browser) -> Result<(), Failed> {
    let widest = "return Math.round(parseFloat([...document.querySelectorAll('.flames div')].find((d) => d.textContent === 'orders::serve').style.width))";
    // By all that was allocated: when most was live, nothing was served yet.
    let measure = |number: u8| {
        format!(
            "const s = document.querySelector('.measure'); s.value = {number}; s.dispatchEvent(new Event('change'))"
        )
    };
    browser.run(&measure(2))?;
    let before = browser.run(widest)?;
    browser.run("[...document.querySelectorAll('.flames div')].find((d) => d.textContent === 'orders::serve').id = 'serve'")?;
    browser.click("#serve")?;
    ensure(browser.run(widest)? == 100 && before != 100, "a click makes nothing wider")?;
    // Down to a child, which becomes the whole, and back.
    browser.run("document.activeElement.id = 'active'")?;
    browser.keys("#active", DOWN)?;
    browser.run("document.activeElement.id = 'child'")?;
    ensure(browser.text("#flame .path")?.contains("orders::serve → "), "the arrow does not lead down")?;
    browser.keys("#child", ENTER)?;
    browser.run("document.activeElement.id = 'whole'")?;
    browser.keys("#whole", ESCAPE)?;
    ensure(browser.run(widest)? == before, "Escape does not lead back")?;
    browser.keys("#flame .seek", "remember")?;
    let hits = browser.run("return document.querySelectorAll('.flames .hit').length")?;
    ensure(hits == 1, &format!("{hits} functions are found"))?;
    browser.click("#flame .out")?;
    browser.run(&measure(3))?;
    ensure(browser.text("#flame .path")?.contains("100.0 %"), "another measure draws nothing")
}

fn tables(browser: &Browser) -> Result<(), Failed> {
    let first = "#sites tbody th summary";
    browser.click("#sites thead th:nth-child(5) button")?;
    let most = browser.text(first)?;
    browser.click("#sites thead th:nth-child(5) button")?;
    ensure(browser.text(first)? != most, "a second click does not turn the order")?;
    browser.click(first)?;
    ensure(
        browser.run("return document.querySelector('#sites details').open")? == true,
        "the stack stays shut",
    )
}

pub fn lab() -> Result<(), Failed> {
    let policy = |name: &str, rows: usize| Policy {
        name: name.into(),
        peak_held: rows as u64 * 4096,
        states: (1..=40)
            .map(|n| State { calls: n * 25, asked: n * 1000, taken: n * 1200, held: n * rows as u64 * 100 })
            .collect(),
        cells: (0..40)
            .map(|x| (0..60).map(|y| if y < rows { ((x + y) % 9) as u8 } else { 0 }).collect())
            .collect(),
        ..Policy::default()
    };
    let lab = |name: &str| Lab {
        title: format!("{name}: blocks that come and go"),
        lesson: "Look at the second.".into(),
        calls: 1000,
        cell_bytes: 4096,
        policies: vec![policy("first fit", 20), policy("worst fit", 55), policy("buddy", 33)],
    };
    let html = page(&[lab("comb"), lab("rover")]);
    for width in [1280, 380] {
        let browser = Browser::show(&html, width)?;
        browser.is_content()?;
        fits(&browser)?;
        sections(&browser, &format!("lab-{width}"))?;
        let says = "return [...document.querySelectorAll('#lab-1 .says')].map((p) => p.textContent)";
        let before = browser.run(says)?;
        browser.keys("#lab-1 .moments", &LEFT.repeat(10))?;
        let after = browser.run(says)?;
        for place in 0..3 {
            ensure(before[place] != after[place], "a map does not follow the slider")?;
        }
        browser.click("#lab-1 .play")?;
        browser.is_content()?;
    }
    Ok(())
}
