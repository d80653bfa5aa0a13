function trainingCurves(groups) {
  const element = document.getElementById("curves");
  const chooser = document.getElementById("curve-group");
  groups.forEach((group, k) => option(chooser, k, group.name));
  const dashes = ["solid", "dash", "dot", "dashdot", "longdash"];

  function draw() {
    const { lines } = groups[chooser.value];
    const traces = lines.map((line, k) => ({
      type: "scatter", mode: line.epochs.length < 4 ? "lines+markers" : "lines", name: plain(line.name),
      x: line.epochs, y: line.values, line: { color: colours()[k % colours().length], dash: dashes[k % dashes.length], width: 2 },
      hovertemplate: "%{y:.4g}",
    }));
    const last = Math.max(...lines.map((line) => line.epochs.at(-1)));
    const epochs = axis({ title: { text: "epoch" }, tick0: 0, dtick: Math.ceil((last + 1) / 12) });
    Plotly.react(element, traces, layout({
      hovermode: "x unified", showlegend: true, xaxis: epochs, yaxis: axis({}),
    }), CONFIG);
  }

  chooser.addEventListener("change", draw);
  draw();
  redraws.push(draw);
}
