// Drives one release of the official JavaScript client: node client.mjs VERSION.
// Each line of standard input is a question, each line of standard output its
// answer; see ../js.go.
import process from 'node:process';
import readline from 'node:readline';
import { check, declared, leaves, resolve } from './declared.mjs';

const version = process.argv[2];
const { default: Cloudflare } = await import(`cloudflare-${version}`);
const six = version.startsWith('6.');

// client is the official client; the base URL, the token and, unless the
// retries are what is tested, their number are all that is set.
function client(t) {
  return new Cloudflare({
    ...(t.Base && { baseURL: t.Base, apiToken: t.Token }),
    ...(!t.Retries && { maxRetries: 0 }),
  });
}

const lower = (s) => s[0].toLowerCase() + s.slice(1);
const upper = (s) => s[0].toUpperCase() + s.slice(1);
const kebab = (s) => lower(s).replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

// Names as cloudflare-go has them, and back: New is create, ID was Id in 6.
const jsName = (name) => lower(name.replace(/^New/, 'create')).replace(/ID/g, six ? 'Id' : 'ID');
const goName = (name) => upper(name.replace(/^create/, 'new').replace(/Id(?=[A-Z]|$)/g, 'ID'));

const resources = new Map();
function resource(service) {
  if (!resources.has(service)) resources.set(service, declared(version, kebab(service)));
  return resources.get(service);
}

// prepare gives parameters the form that the client declares for them, and
// leaves out what it declares nothing for.
function prepare(types, scope, params, at, undeclared) {
  const ready = {};
  for (const [name, value] of Object.entries(params ?? {})) {
    const field = types[scope]?.[name];
    const below = at ? `${at}.${name}` : name;
    if (!field) undeclared.push(below);
    else if (value?.$time !== undefined) {
      ready[name] = field.type.some((t) => t.name === 'number') ? Math.floor(value.$time / 1000) : new Date(value.$time).toISOString();
    } else if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
      const tries = field.type.map((t) => t.name && resolve(types, t.name, scope)).filter(Boolean).map((inner) => {
        const missed = [];
        return { value: prepare(types, inner, value, below, missed), missed };
      });
      const best = tries.sort((a, b) => a.missed.length - b.missed.length)[0];
      ready[name] = best.value;
      undeclared.push(...best.missed);
    } else ready[name] = value;
  }
  return ready;
}

async function call({ target: t, method, ids, params, query }) {
  const [service, name] = method.split('.');
  const { methods, types } = resource(service);
  const m = methods[jsName(name)];
  const api = client(t).realtimeKit[lower(service)];
  if (!m || typeof api[jsName(name)] !== 'function') return { noMethod: true };
  const undeclared = [];
  const ready = { account_id: t.Account, ...prepare(types, m.params, params, '', undeclared) };
  if (types[m.params]?.app_id) ready.app_id = t.App;
  const args = six || !ids?.length ? [t.App, ...(ids ?? [])] : ids;
  const options = query && { query: { ...(Object.keys(ready).length > 1 && ready), account_id: undefined, app_id: undefined, ...query } };
  let answer;
  try {
    answer = await api[jsName(name)](...args.slice(-m.ids.length || args.length), ready, options);
  } catch (err) {
    return { ...refusal(err), undeclared };
  }
  return { answer, undeclared: undeclared.sort(), ...check(types, m.answer, answer) };
}

async function plain({ target: t, method, path, params, query }) {
  try {
    return { answer: await client(t)[method.toLowerCase()](path, { ...(params && { body: params }), ...(query && { query }) }) };
  } catch (err) {
    return refusal(err);
  }
}

// probe calls a method with "ID" for whatever its path needs, to see that path.
async function probe({ target: t, method }) {
  const [service, name] = method.split('.');
  const m = resource(service).methods[jsName(name)];
  const params = { account_id: t.Account, app_id: t.App };
  for (const [field, { optional }] of Object.entries(resource(service).types[m.params] ?? {})) if (!optional) params[field] ??= 'ID';
  const args = m.ids.map((id) => (id.toLowerCase() === 'appid' ? t.App : 'ID'));
  await client(t).realtimeKit[lower(service)][jsName(name)](...args, params).catch(refusal);
  return {};
}

// methods lists what the client has below realtimeKit.
function methods({ target: t }) {
  const kit = client({ ...t, Base: 'http://localhost', Token: 'none' }).realtimeKit;
  const all = [];
  for (const [service, api] of Object.entries(kit)) {
    if (service.startsWith('_') || typeof api !== 'object') continue;
    const { methods: known, types } = resource(upper(service));
    for (const name of inherited(api)) {
      all.push({ Name: `${upper(service)}.${goName(name)}`, Params: leaves(types, known[name].params) });
    }
  }
  return { methods: all };
}

// inherited lists an object's methods; 7.x has them one class further up.
function inherited(object) {
  const names = [];
  for (let at = Object.getPrototypeOf(object); at && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    names.push(...Object.getOwnPropertyNames(at).filter((name) => name !== 'constructor' && !name.startsWith('_')));
  }
  return names;
}

// refusal is an error as the client raised it. One that did not come from the
// API has status 0, and may be of any class.
function refusal(err) {
  const first = err.errors?.[0] ?? {};
  return {
    refusal: {
      class: err.constructor.name, status: err.status ?? 0, code: first.code ?? 0,
      message: first.message ?? err.message, pointer: first.source?.pointer ?? '',
    },
  };
}

const ops = { call, plain, probe, methods };

for await (const line of readline.createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  const began = performance.now();
  (async () => ops[question.op](question))()
    .catch((err) => ({ failed: String(err?.stack ?? err) }))
    .then((got) => console.log(JSON.stringify({ ...got, id: question.id, tookMS: performance.now() - began })));
}
