"use strict";
// Draws each figure's specification in the width that it has, and again where that changes. Colours are CSS
// variables, so that light, dark and paper need no drawing. Expressions are interpreted (ast), not compiled, so that
// the page's Content-Security-Policy can forbid eval.
(() => {
  const tip = document.getElementById("tip");
  const hide = () => {
    tip.hidden = true;
  };
  const showTip = (_handler, event, _item, text) => {
    if (!text) return hide();
    tip.replaceChildren();
    for (const said of String(text).split("\n")) {
      const line = document.createElement("div");
      line.textContent = said;
      tip.append(line);
    }
    tip.hidden = false;
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const above = event.clientY + tip.offsetHeight + 20 > innerHeight;
    tip.style.left = `${Math.max(left, 8)}px`;
    tip.style.top = `${above ? event.clientY - tip.offsetHeight - 10 : event.clientY + 14}px`;
  };
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
  addEventListener("scroll", hide, { passive: true });

  // Vega breaks no lines: titles are broken here, in the letters of the page.
  const ruler = document.createElement("canvas").getContext("2d");
  const wrap = (lines, font, width) => {
    ruler.font = `${font} ${settings.config.font}`;
    const wrapped = [""];
    for (const word of lines.join(" ").split(" ")) {
      const last = wrapped[wrapped.length - 1];
      const longer = last ? `${last} ${word}` : word;
      if (last && ruler.measureText(longer).width > width) wrapped.push(word);
      else wrapped[wrapped.length - 1] = longer;
    }
    return wrapped;
  };
  const draw = async (chart) => {
    const width = chart.clientWidth;
    if (!width || chart.drawnAt === width) return;
    chart.drawnAt = width;
    const spec = JSON.parse(chart.parentElement.querySelector("script").textContent);
    spec.width = spec.params[0].value = width;
    const { fontSize, fontWeight, subtitleFontSize } = settings.config.title;
    const room = width - 2 * spec.padding;
    spec.title.text = wrap(spec.title.text, `${fontWeight} ${fontSize}px`, room);
    if (spec.title.subtitle) spec.title.subtitle = wrap(spec.title.subtitle, `${subtitleFontSize}px`, room);
    chart.drawn?.finalize();
    chart.drawn = await vegaEmbed(chart, spec, {
      actions: false,
      ast: true,
      config: settings.config,
      defaultStyle: false,
      renderer: "svg",
      tooltip: showTip,
    });
    // The chart around it is one image with a description; its thousand parts are not read out.
    chart.querySelector("svg").setAttribute("aria-hidden", "true");
    chart.dataset.drawn = "yes";
  };
  const settings = JSON.parse(document.getElementById("drawing").textContent);
  const drawSoon = (entries) => {
    for (const { target } of entries) {
      clearTimeout(target.timer);
      target.timer = setTimeout(() => draw(target), target.drawnAt ? 150 : 0);
    }
  };
  const observer = new ResizeObserver(drawSoon);
  for (const chart of document.querySelectorAll(".chart")) observer.observe(chart);
})();
