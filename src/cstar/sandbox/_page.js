// Requests the page once a second, and updates only the elements that have changed.

const INTERVAL = 1000; // milliseconds from a response to the next request
const TIMEOUT = 5000; // milliseconds to wait for a response

const status = document.getElementById("status");

function showStatus(text, state) {
  const root = document.documentElement;
  if (root.dataset.state === state) return; // screen readers announce each change of the text
  root.dataset.state = state;
  status.textContent = text;
}

// Makes a node equal to another one. Nodes that stay are updated in place, because focus, selection, scroll position and
// the text of the search field belong to nodes. Elements with an id are matched by it.
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

// Returns the current page, or null if it has not changed.
async function fetchChanged() {
  const response = await fetch(location.pathname + location.search, {
    headers: { "If-None-Match": document.body.dataset.version },
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT),
  });
  if (response.status === 304) return null;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!response.ok || !page.body.dataset.version) throw new Error("Another server responded.");
  return page;
}

async function refresh() {
  let page;
  try {
    page = await fetchChanged();
  } catch {
    showStatus("Not responding", "unreachable");
    return;
  }
  if (page) update(document.body, page.body);
  showStatus("Live", "live");
}

async function poll() {
  try {
    if (!document.hidden) await refresh();
  } finally {
    setTimeout(poll, INTERVAL);
  }
}

poll();
