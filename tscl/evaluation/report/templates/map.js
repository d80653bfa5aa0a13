function embeddingMap(points) {
  const element = document.getElementById("map");
  const chooser = document.getElementById("colour");
  const x = new Float32Array(bytes(points.x));
  const y = new Float32Array(bytes(points.y));
  const n = x.length;
  const shown = new Set(points.columns.split.values);
  if (shown.has("test")) { shown.clear(); shown.add("test"); }
  let pointed = null;
  let chosen = null;
  let where = [];

  const value = (name, i) => points.columns[name].values[points.columns[name].codes[i]];
  const visible = (i) => shown.has(value("split", i));

  function describe(i) {
    const parts = points.levels.map((level) => `${level} ${value(level, i)}`);
    if (points.columns.onset) parts.push(`at ${value("onset", i)} s`);
    if (points.target) parts.push(`${points.target}: ${value(points.target, i)}`);
    parts.push(`${value("split", i)} side`);
    if (points.columns.source) parts.push(`from ${value("source", i)}`);
    return parts;
  }

  function traces() {
    const by = points.columns[chooser.value];
    const groups = by.values.map(() => []);
    for (let i = 0; i < n; i++) if (visible(i)) groups[by.codes[i]].push(i);
    where = [];
    const named = groups.filter((group) => group.length).length;
    const drawn = [];
    groups.forEach((group, k) => {
      if (!group.length) return;
      group.forEach((i, at) => { where[i] = [drawn.length, at]; });
      drawn.push({
        type: "scatter", mode: "markers", name: plain(by.values[k]), customdata: group,
        x: group.map((i) => x[i]), y: group.map((i) => y[i]),
        text: group.map((i) => describe(i).map(plain).join("<br>")), hoverinfo: "text",
        marker: {
          color: colours()[k % colours().length], symbol: SYMBOLS[(named > 10 ? Math.floor(k / 10) : k) % SYMBOLS.length],
          size: n > 800 ? 6 : 8, opacity: 0.8, line: { width: 0.5, color: variable("--bg") },
        },
        showlegend: named <= 12,
      });
    });
    for (const [i, size] of [[pointed, 14], [chosen, 20]]) {
      if (i === null || !visible(i)) continue;
      drawn.push({
        type: "scatter", mode: "markers", x: [x[i]], y: [y[i]], hoverinfo: "skip", showlegend: false,
        marker: { symbol: "circle-open", size, color: variable("--ink"), line: { width: 2 } },
      });
    }
    return drawn;
  }

  function draw() {
    const by = points.columns[chooser.value];
    const many = {
      text: `${by.values.length} kinds of ${plain(chooser.value)}: point at a window to see which`,
      showarrow: false, xref: "paper", yref: "paper", x: 0, y: 1.01, xanchor: "left", yanchor: "bottom",
    };
    const drawn = traces();
    const percent = points.share.map((share) => `${Math.round(100 * share)} % of variance`);
    Plotly.react(element, drawn, layout({
      hovermode: "closest", uirevision: "kept",
      xaxis: axis({ title: { text: `first component (${percent[0]})`, standoff: 8 }, showticklabels: false, nticks: 6 }),
      yaxis: axis({ title: { text: `second component (${percent[1]})`, standoff: 8 }, showticklabels: false, nticks: 6 }),
      legend: { ...LEGEND, title: { text: `${plain(chooser.value)} ` } },
      annotations: drawn.some((trace) => trace.showlegend) ? [] : [many],
      margin: { l: 40, r: 12, t: 40, b: 40 },
    }), CONFIG);
  }

  function point(i) {
    pointed = i;
    draw();
    document.getElementById("pointed").textContent = describe(i).join(", ");
    if (where[i]) Plotly.Fx.hover(element, [{ curveNumber: where[i][0], pointNumber: where[i][1] }]);
  }

  function choose(i) {
    chosen = i;
    point(i);
    drawSignal(points, i, describe(i).join(", "));
    if (!matchMedia("(min-width: 62rem)").matches) {
      document.getElementById("signal-panel").scrollIntoView({ block: "nearest" });
    }
  }

  /* The nearest visible window within 45 degrees of a direction. */
  function neighbour(dx, dy) {
    const range = (axis) => Math.abs(axis.range[1] - axis.range[0]);
    const width = range(element._fullLayout.xaxis);
    const height = range(element._fullLayout.yaxis);
    let best = null;
    let nearest = Infinity;
    for (let i = 0; i < n; i++) {
      if (i === pointed || !visible(i)) continue;
      const right = (x[i] - x[pointed]) / width;
      const up = (y[i] - y[pointed]) / height;
      const along = right * dx + up * dy;
      const across = Math.abs(right * dy) + Math.abs(up * dx);
      if (along <= 0 || across > along) continue;
      const distance = along + 2 * across;
      if (distance < nearest) { nearest = distance; best = i; }
    }
    return best;
  }

  const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      if (pointed !== null) choose(pointed);
    } else if (event.key === "Escape") {
      Plotly.Fx.unhover(element);
    } else if (ARROWS[event.key] || event.key === "Home") {
      const none = pointed === null || !visible(pointed) || event.key === "Home";
      const next = none ? [...x.keys()].find(visible) ?? null : neighbour(...ARROWS[event.key]);
      if (next !== null) point(next);
    } else {
      return;
    }
    event.preventDefault();
  });

  const sides = document.getElementById("sides");
  for (const side of ["train", "val", "test"].filter((name) => points.columns.split.values.includes(name))) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = shown.has(side);
    box.value = side;
    box.addEventListener("change", () => { box.checked ? shown.add(side) : shown.delete(side); draw(); });
    label.append(box, ` ${side}`);
    sides.append(label);
  }
  for (const name of points.colours) option(chooser, name, name === points.target ? `label (${name})` : name);
  chooser.addEventListener("change", draw);
  draw();
  element.on("plotly_click", (event) => {
    const [point] = event.points;
    if (point && point.customdata !== undefined) choose(point.customdata);
  });
  redraws.push(() => (pointed === null ? draw() : point(pointed)));
  redraws.push(() => { if (chosen !== null) drawSignal(points, chosen, describe(chosen).join(", ")); });
}

/* The window's channels below each other, from the integers of the file. */
function signalOf(points, i) {
  const [, nChannels, nTimes] = points.shape;
  points.decoded ??= {
    data: new Int16Array(bytes(points.signals)),
    low: new Float32Array(bytes(points.low)),
    unit: new Float32Array(bytes(points.unit)),
  };
  const { data, low, unit } = points.decoded;
  return [...Array(nChannels).keys()].map((c) => {
    const at = i * nChannels + c;
    const stored = data.subarray(at * nTimes, (at + 1) * nTimes);
    return Array.from(stored, (v) => (v === -32768 ? null : low[at] + (v + 32767) * unit[at]));
  });
}

function drawSignal(points, i, about) {
  const element = document.getElementById("signal");
  const signal = signalOf(points, i);
  const rows = signal.length;
  const slow = points.sfreq < 0.1;
  const times = signal[0].map((_, t) => t / points.sfreq / (slow ? 3600 : 1));
  const gap = 0.04;
  const height = (1 - gap * (rows - 1)) / rows;
  const axes = { xaxis: axis({ title: { text: `time (${slow ? "h" : "s"})` }, anchor: `y${rows > 1 ? rows : ""}` }) };
  const traces = signal.map((values, c) => {
    const top = 1 - c * (height + gap);
    axes[`yaxis${c ? c + 1 : ""}`] = axis({
      domain: [Math.max(0, top - height), top], nticks: 4, title: { text: plain(points.names[c]), standoff: 6 },
    });
    return {
      type: "scatter", mode: "lines", x: times, y: values, xaxis: "x", yaxis: `y${c ? c + 1 : ""}`, name: plain(points.names[c]),
      line: { color: colours()[0], width: 1.4 }, connectgaps: false, showlegend: false,
      hovertemplate: `%{y:.4g} ${plain(points.physical_unit).replaceAll("%", "")}<extra></extra>`,
    };
  });
  element.style.height = `${Math.min(640, Math.max(220, 96 * rows + 60))}px`;
  Plotly.react(element, traces, layout({ ...axes, margin: { l: 60, r: 12, t: 6, b: 45 } }), CONFIG);
  const few = rows < points.n_channels ? ` The first ${rows} of ${points.n_channels} channels.` : "";
  const coarse = points.step > 1 ? ` Every value is the mean of ${points.step} samples.` : "";
  document.getElementById("signal-about").textContent = `${about}; values in ${points.physical_unit.replace(/\.$/, "")}.${few}${coarse}`;
}
