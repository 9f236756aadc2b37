// The demo app: who am I, and a Conversations token, from Vestibule's public routes alone.
//
// The session or the guest is in a cookie that no script can read. `credentials: 'include'` sends it, because this page is same-site with
// Vestibule and its origin is among `server.allowed_origins`.

const element = (id) => document.getElementById(id);
const service = element('app').dataset.service;

// Whether the browser brings a session that is over, or a guest.
let over = false;

// When the token ends, in milliseconds of a clock that nobody can set: `expires_in` counts from its arrival.
let ends = null;

/** Calls Vestibule; resolves to the JSON of its answer, if any, and throws its problem (RFC 9457) when it says no. */
async function call(method, path) {
  let response;
  try {
    response = await fetch(service + path, {
      method,
      credentials: 'include',
      headers: { Accept: 'application/json' },
    });
  } catch {
    throw { code: 'unreachable', title: 'Vestibule cannot be reached' };
  }
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  throw body?.code ? body : { code: `HTTP ${response.status}`, title: 'Vestibule gave an answer that is no JSON' };
}

function show(view) {
  for (const id of ['loading', 'signed-out', 'signed-in']) element(id).hidden = id !== view;
}

/** Shows the problem; when it is that nobody is signed in, shows the way to sign in too. */
function tell(problem) {
  const reference = problem.reference ? `, reference ${problem.reference}` : '';
  element('problem').textContent = `${problem.title} (${problem.code}${reference})`;
  element('problem').hidden = false;
  if (problem.code === 'login_required' || problem.code === 'session_expired') {
    over = problem.code === 'session_expired';
    ends = null;
    show('signed-out');
  }
}

/** Does `work` while no button can be pressed twice; what it throws is told. */
async function attempt(work) {
  const buttons = document.querySelectorAll('button');
  element('problem').hidden = true;
  for (const button of buttons) button.disabled = true;
  try {
    await work();
  } catch (problem) {
    tell(problem);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

async function refresh() {
  const { token, expires_in } = await call('POST', '/token');
  ends = performance.now() + expires_in * 1000;
  const [header, claims] = token.split('.').slice(0, 2).map(decode);
  element('token').textContent = token;
  element('header').textContent = header;
  element('claims').textContent = claims;
  tick();
}

/** A part of a JWT, base64url of UTF-8 JSON, as indented JSON. */
function decode(part) {
  const binary = atob(part.replaceAll('-', '+').replaceAll('_', '/'));
  const text = new TextDecoder().decode(Uint8Array.from(binary, (character) => character.charCodeAt(0)));
  return JSON.stringify(JSON.parse(text), null, 2);
}

function tick() {
  if (ends === null) return;
  const seconds = Math.max(0, Math.round((ends - performance.now()) / 1000));
  const rest = String(seconds % 60).padStart(2, '0');
  element('remaining').textContent = `${Math.floor(seconds / 60)} min ${rest} s`;
}

/** Who is here, with a token; or the way to come in. */
async function start() {
  show('loading');
  let session;
  try {
    session = await call('GET', '/session');
  } catch (problem) {
    show('signed-out');
    // Not to be signed in yet is no problem.
    if (problem.code !== 'login_required') tell(problem);
    return;
  }
  const guest = session.kind === 'guest';
  element('name').textContent = guest ? 'guest' : session.friendly_name ?? 'you';
  element('identity').textContent = session.identity;
  element('provider').textContent = guest ? 'nothing: a guest of the pool' : session.provider;
  element('until').dateTime = session.until;
  element('until').textContent = new Date(session.until).toLocaleString('en-GB', { dateStyle: 'long', timeStyle: 'short' });
  element('for-members').hidden = guest;
  element('for-guests').hidden = !guest;
  await attempt(refresh);
  await attempt(list);
  // Unless it turned out that the session is over, which `tell` has shown.
  if (element('signed-out').hidden) show('signed-in');
}

/** Asks this page's own server, which is Twilio's stand-in too, for the conversations of whoever is here; `join` is taken into one more. */
async function list(join) {
  const identity = encodeURIComponent(element('identity').textContent);
  const response = await fetch(`/conversations/${identity}`, { method: join ? 'POST' : 'GET' });
  const names = await response.json();
  element('conversations').textContent = names.length ? names.join(', ') : 'none';
}

/** Has the browser forget a session that is over: Vestibule puts no guest in a member's place without this step. */
async function forget() {
  try {
    await call('POST', '/logout');
  } catch (problem) {
    // Who has none to sign out had none, or has none any more.
    if (problem.code !== 'session_expired' && problem.code !== 'login_required') throw problem;
  }
  over = false;
}

element('guest').addEventListener('click', () => attempt(async () => {
  if (over) await forget();
  await call('POST', '/guest');
  await start();
}));
element('give-back').addEventListener('click', () => attempt(async () => {
  await call('DELETE', '/guest');
  ends = null;
  show('signed-out');
}));
element('join').addEventListener('click', () => attempt(() => list(true)));
element('look').addEventListener('click', () => attempt(() => list()));
element('refresh').addEventListener('click', () => attempt(refresh));
setInterval(tick, 1000);
start();
