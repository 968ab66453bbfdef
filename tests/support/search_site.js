// Ask the search of a built site, as its page does: node search_site.js SITE, with a list of queries on the standard input.
// It prints the locations of the results of each.
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const site = process.argv[2];
const scripts = path.join(site, "assets", "javascripts", "workers");
const source = fs.readFileSync(path.join(scripts, fs.readdirSync(scripts).find((name) => name.startsWith("search"))), "utf-8");

// The worker's scope, and the page's Worker, which docs/assets/search.js wraps.
const answers = [];
const scope = { postMessage: (message) => worker.onmessage({ data: message }) };
vm.runInNewContext(source, { self: scope, Intl, RegExp, console });
class Worker {
  postMessage(message) {
    scope.onmessage({ data: message });
  }
}
const page = { window: { Worker } };
vm.runInNewContext(fs.readFileSync(path.join(site, "assets", "search.js"), "utf-8"), page);
const worker = new page.window.Worker();
worker.onmessage = ({ data }) => answers.push(data);
const settled = () => new Promise((resolve) => setImmediate(resolve));

(async () => {
  worker.postMessage({ type: 0, data: JSON.parse(fs.readFileSync(path.join(site, "search.json"), "utf-8")) });
  while (!answers.length) await settled();
  const items = JSON.parse(fs.readFileSync(path.join(site, "search.json"), "utf-8")).items;
  const found = [];
  for (const input of JSON.parse(fs.readFileSync(0, "utf-8"))) {
    answers.length = 0;
    worker.postMessage({ type: 2, data: { input } });
    for (let tries = 0; tries < 1000 && !answers.length; tries++) await settled();
    found.push((answers[0]?.data?.items ?? []).map(({ id }) => items[id].location));
  }
  console.log(JSON.stringify(found));
})();
