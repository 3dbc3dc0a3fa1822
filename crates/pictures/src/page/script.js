"use strict";
(() => {
  const all = (root, selector) => Array.from(root.querySelectorAll(selector));
  const data = (root, name) => JSON.parse(root.querySelector("script." + name).textContent);
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // Light or dark.
  const root = document.documentElement;
  document.querySelector(".theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    document.dispatchEvent(new Event("themed"));
  });

  // Charts over time: a cursor that says what there was.
  for (const plot of all(document, ".plot")) {
    const { at, x, names, values } = data(plot, "plot-data");
    const frame = plot.querySelector(".frame"), canvas = plot.querySelector(".canvas");
    const cursor = plot.querySelector(".cursor"), readout = plot.querySelector(".readout");
    let place = 0;
    const show = (next) => {
      place = clamp(next, 0, at.length - 1);
      cursor.hidden = false;
      cursor.style.left = x[place] * 100 + "%";
      const parts = names.map((name, layer) => name + " " + values[layer][place]).reverse();
      readout.textContent = at[place] + ": " + parts.join(", ");
      frame.setAttribute("aria-valuenow", place);
      frame.setAttribute("aria-valuetext", readout.textContent);
    };
    const nearest = (part) => {
      let low = 0, high = x.length - 1;
      while (low < high) { const middle = (low + high) >> 1; if (x[middle] < part) low = middle + 1; else high = middle; }
      return low > 0 && part - x[low - 1] < x[low] - part ? low - 1 : low;
    };
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      show(nearest((event.clientX - box.left) / box.width));
    };
    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("pointerdown", point);
    frame.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -20, PageUp: 20, Home: -at.length, End: at.length }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      show(place + step);
    });
  }

  // Tables that are sorted and searched.
  for (const box of all(document, ".sites")) {
    const table = box.querySelector("table.sortable"), body = table.tBodies[0];
    const heads = all(table, "thead th");
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => { const cell = row.cells[column]; return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v); };
      const order = (a, b) => { const x = key(a), y = key(b); return typeof x === "string" ? -x.localeCompare(y) : x - y; };
      const rows = Array.from(body.rows).sort((a, b) => down ? order(b, a) : order(a, b));
      const shown = all(body, "tr:not(.later)").length;
      rows.forEach((row, place) => { row.classList.toggle("later", place >= shown); body.append(row); });
    }));
    const more = box.querySelector("button.all");
    const open = () => { table.classList.add("showall"); if (more) more.hidden = true; };
    if (more) more.addEventListener("click", open);
    const filter = box.querySelector(".filter");
    if (filter) filter.addEventListener("input", () => {
      const wanted = filter.value.toLowerCase();
      if (wanted) open();
      let found = 0;
      for (const row of body.rows) {
        const fits = row.textContent.toLowerCase().includes(wanted);
        row.classList.toggle("hidden", !fits);
        found += fits;
      }
      box.querySelector(".found").textContent = wanted ? found + " found" : "";
    });
  }
  for (const box of all(document, "button.all")) {
    box.addEventListener("click", () => { box.parentElement.querySelector("table").classList.add("showall"); box.hidden = true; });
  }

  const show_bytes = (value) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (value >= 1024 && unit < 4) { value /= 1024; unit++; }
    return unit ? value.toFixed(1) + " " + units[unit] : Math.round(value) + " B";
  };
  const show = (value, unit) => unit === "bytes" ? show_bytes(value) : Math.round(value).toLocaleString("en");

  // Flame graphs: who called whom, outermost at the top. A click makes a function the whole.
  for (const figure of all(document, ".flame")) {
    const { measures, names, nodes } = data(figure, "flame-data");
    const area = figure.querySelector(".flames"), path = figure.querySelector(".path");
    const seek = figure.querySelector(".seek"), pick = figure.querySelector(".measure");
    const tree = nodes.map(([name, parent, values], id) => ({ id, name: names[name], parent, values, children: [], depth: 0 }));
    tree.slice(1).forEach((node) => { node.depth = tree[node.parent].depth + 1; tree[node.parent].children.push(node); });
    let measure = 0, zoom = tree[0], active = tree[0], elements = new Map();
    const value = (node) => node.values[measure];
    const hash = (text) => { let sum = 7; for (const c of text) sum = (sum * 31 + c.codePointAt(0)) >>> 0; return sum % 4; };
    const chain = (node) => { const list = []; for (let at = node; ; at = tree[at.parent]) { list.unshift(at); if (at.id === 0) return list; } };
    const say = (node) => {
      const whole = value(tree[0]), unit = measures[measure][1];
      path.textContent = show(value(node), unit) + " (" + (value(node) / whole * 100).toFixed(1) + " %) " + chain(node).slice(node.id ? 1 : 0).map((n) => n.name).join(" → ");
    };
    const draw = () => {
      area.replaceChildren();
      elements = new Map();
      const wanted = seek.value.toLowerCase();
      const whole = value(zoom) || 1;
      let deepest = 0;
      const put = (node, left, width, above) => {
        const element = document.createElement("div");
        element.textContent = width > 0.012 ? node.name : "";
        element.className = "h" + hash(node.name) + (above ? " above" : "") + (width <= 0.012 ? " thin" : "");
        if (wanted && node.name.toLowerCase().includes(wanted)) element.classList.add("hit");
        element.style.cssText = "left:" + left * 100 + "%;width:" + width * 100 + "%;top:" + node.depth * 1.35 + "rem";
        element.setAttribute("role", "treeitem");
        element.setAttribute("aria-level", node.depth + 1);
        element.setAttribute("aria-label", node.name + ", " + show(value(node), measures[measure][1]));
        element.title = node.name + "\n" + show(value(node), measures[measure][1]);
        element.tabIndex = node === active ? 0 : -1;
        element.addEventListener("click", () => { zoom = node; active = node; draw(); elements.get(node)?.focus(); });
        element.addEventListener("pointerenter", () => say(node));
        element.addEventListener("focus", () => { active = node; say(node); });
        area.append(element);
        elements.set(node, element);
        deepest = Math.max(deepest, node.depth);
      };
      chain(zoom).slice(0, -1).forEach((node) => put(node, 0, 1, true));
      const work = [[zoom, 0]];
      while (work.length) {
        const [node, left] = work.pop();
        const width = value(node) / whole;
        if (width < 0.0008 && node !== zoom) continue;
        put(node, left, width, false);
        let at = left;
        for (const child of node.children.slice().sort((a, b) => value(b) - value(a))) {
          work.push([child, at]);
          at += value(child) / whole;
        }
      }
      area.style.height = (deepest + 1) * 1.35 + 0.2 + "rem";
      if (!elements.has(active)) { active = zoom; elements.get(zoom).tabIndex = 0; }
      say(active);
    };
    area.addEventListener("keydown", (event) => {
      const siblings = active.id ? tree[active.parent].children.slice().sort((a, b) => value(b) - value(a)) : [active];
      const place = siblings.indexOf(active);
      const children = active.children.slice().sort((a, b) => value(b) - value(a));
      const next = { ArrowUp: tree[active.parent], ArrowDown: children[0], ArrowLeft: siblings[place - 1], ArrowRight: siblings[place + 1] }[event.key];
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); elements.get(active)?.click(); return; }
      if (event.key === "Escape") { zoom = tree[0]; draw(); elements.get(active)?.focus(); return; }
      if (!event.key.startsWith("Arrow")) return;
      event.preventDefault();
      if (!next || !elements.has(next)) return;
      elements.get(active).tabIndex = -1;
      active = next;
      elements.get(active).tabIndex = 0;
      elements.get(active).focus();
    });
    seek.addEventListener("input", () => {
      draw();
      const hits = area.querySelectorAll(".hit").length;
      if (seek.value) path.textContent = hits + (hits === 1 ? " function" : " functions") + " in view bear '" + seek.value + "'";
    });
    if (pick) pick.addEventListener("change", () => { measure = Number(pick.value); zoom = tree[0]; active = tree[0]; draw(); });
    figure.querySelector(".out").addEventListener("click", () => { zoom = tree[0]; active = tree[0]; seek.value = ""; draw(); });
    draw();
  }

  // Heap maps: one moment large; all maps of a section move together.
  const unpack = (text) => {
    const levels = [];
    for (let at = 0; at < text.length; at++) {
      const level = text.charCodeAt(at) - 48;
      const next = text.charCodeAt(at + 1) - 97;
      let times = 1;
      if (next >= 0 && next < 26) { times = next + 2; at++; }
      while (times--) levels.push(level);
    }
    return levels;
  };
  for (const section of all(document, "section")) {
    const maps = all(section, ".map").map((figure) => ({ figure, ...data(figure, "map-data") }));
    if (!maps.length) continue;
    const slider = section.querySelector(".moments"), play = section.querySelector(".play");
    const paint = (map, moment) => {
      const canvas = map.figure.querySelector("canvas");
      const style = getComputedStyle(root);
      const levels = unpack(map.frames[moment]);
      map.longest ??= Math.max(...map.frames.map((frame) => unpack(frame).length));
      const width = Math.max(200, Math.round(canvas.clientWidth || 600));
      const columns = width < 500 ? 48 : 96, side = width / columns;
      const rows = Math.max(1, Math.ceil(map.longest / columns));
      canvas.width = width * devicePixelRatio;
      canvas.height = Math.max(8, rows * Math.max(side, 8)) * devicePixelRatio;
      const high = canvas.height / rows, wide = canvas.width / columns;
      const pen = canvas.getContext("2d");
      const colours = Array.from({ length: 9 }, (_, level) => style.getPropertyValue("--l" + level));
      pen.fillStyle = colours[0];
      pen.fillRect(0, 0, canvas.width, canvas.height);
      levels.forEach((level, place) => {
        if (!level) return;
        const left = place % columns * wide, top = Math.floor(place / columns) * high;
        pen.fillStyle = colours[level];
        pen.fillRect(left + .5, top + .5, wide - 1, high - 1);
        if (level === 1) {
          pen.strokeStyle = style.getPropertyValue("--pale");
          pen.beginPath();
          pen.moveTo(left + 1, top + high - 1);
          pen.lineTo(left + wide - 1, top + 1);
          pen.stroke();
        }
      });
      map.figure.querySelector(".says").textContent = map.at[moment] + ": " + map.says[moment];
      map.figure.querySelector(".cursor").style.left = (moment + 1) / map.at.length * 100 + "%";
    };
    const move = () => {
      const moment = Number(slider.value);
      slider.setAttribute("aria-valuetext", maps[0].at[moment]);
      maps.forEach((map) => paint(map, Math.min(moment, map.at.length - 1)));
    };
    slider.addEventListener("input", move);
    maps.forEach((map) => {
      const canvas = map.figure.querySelector(".canvas"), moment = map.figure.querySelector("canvas");
      const point = (event) => {
        const box = canvas.getBoundingClientRect();
        slider.value = Math.floor(clamp((event.clientX - box.left) / box.width, 0, .9999) * map.at.length);
        move();
      };
      canvas.addEventListener("pointerdown", point);
      canvas.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
      moment.addEventListener("pointermove", (event) => {
        const columns = moment.clientWidth < 500 ? 48 : 96, rows = Math.max(1, Math.ceil(map.longest / columns));
        const box = moment.getBoundingClientRect();
        const column = Math.floor((event.clientX - box.left) / box.width * columns);
        const place = Math.floor((event.clientY - box.top) / box.height * rows) * columns + column;
        moment.title = map.addresses[place] ? map.addresses[place] + ", " + map.cell : map.cell + " a cell";
      });
    });
    let timer = 0;
    if (play) play.addEventListener("click", () => {
      if (timer) { clearInterval(timer); timer = 0; play.textContent = "Play"; return; }
      if (slider.value === slider.max) slider.value = 0;
      play.textContent = "Stop";
      timer = setInterval(() => {
        slider.value = Number(slider.value) + 1;
        move();
        if (slider.value === slider.max) play.click();
      }, 120);
    });
    let waiting = 0;
    addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(move); });
    document.addEventListener("themed", move);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", move);
    move();
  }
})();
