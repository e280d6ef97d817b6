// Keeps the page as the sandbox is: asks once a second, and changes only what has changed.

const INTERVAL = 1000; // milliseconds from one answer to the next question
const PATIENCE = 5000; // milliseconds until a sandbox that does not answer counts as gone

const status = document.getElementById("status");

function say(text, state) {
  const root = document.documentElement;
  if (root.dataset.state === state) return; // whatever is written here, a screen reader reads out
  root.dataset.state = state;
  status.textContent = text;
}

// Makes one node like another without replacing what stays: focus, selection, scroll position and opened details
// belong to nodes, and live as long as these do. Elements with an id are matched by it.
function update(node, wanted) {
  if (node === status) return;
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.data !== wanted.data) node.data = wanted.data;
    return;
  }
  for (const { name, value } of wanted.attributes) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  for (const name of node.getAttributeNames()) {
    if (name !== "open" && !wanted.hasAttribute(name)) node.removeAttribute(name);
  }
  updateChildren(node, wanted);
}

function updateChildren(node, wanted) {
  const ids = new Set(Array.from(wanted.children, (child) => child.id));
  for (const child of [...node.children]) {
    if (child.id && !ids.has(child.id)) child.remove();
  }
  let next = node.firstChild;
  for (const child of wanted.childNodes) {
    if (next && next.nodeName === child.nodeName && next.id === child.id) {
      update(next, child);
      next = next.nextSibling;
    } else {
      const added = node.insertBefore(document.importNode(child, true), next);
      if (added.nodeName === "TR") added.classList.add("new");
    }
  }
  while (next) {
    const surplus = next;
    next = next.nextSibling;
    surplus.remove();
  }
}

// The page as it is now, or null if that is what is shown already.
async function fetchChanged() {
  const answer = await fetch(location.pathname, {
    headers: { "If-None-Match": document.body.dataset.version },
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (answer.status === 304) return null;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!answer.ok || !page.body.dataset.version) throw new Error("Something else answers there.");
  return page;
}

async function refresh() {
  let page;
  try {
    page = await fetchChanged();
  } catch {
    say("Not running any more", "gone");
    return;
  }
  if (page) update(document.body, page.body);
  say("Live", "live");
}

async function keepFresh() {
  try {
    if (!document.hidden) await refresh();
  } finally {
    setTimeout(keepFresh, INTERVAL);
  }
}

keepFresh();
