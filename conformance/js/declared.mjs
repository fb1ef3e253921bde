// What a release of npm cloudflare declares for RealtimeKit: its .d.ts files,
// read as far as the generator that wrote them goes (interfaces, namespaces,
// unions, literals, arrays).
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));

// declared reads one resource ("livestreams") of one release.
export function declared(version, resource) {
  const file = path.join(here, 'node_modules', `cloudflare-${version}`, 'resources', 'realtime-kit', `${resource}.d.ts`);
  const text = fs.readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '');
  return { methods: methodsOf(text), types: typesOf(text) };
}

// methodsOf maps a method to its ids, its params and its answer's type.
function methodsOf(text) {
  const methods = {};
  for (const [, name, args, answer] of text.matchAll(/^ {4}(\w+)\((.*)\): (?:Core\.)?APIPromise<(\w+)>;$/gm)) {
    methods[name] ??= {
      ids: [...args.matchAll(/(\w+): string\b/g)].map((m) => m[1]),
      params: args.match(/params\??: (\w+)/)?.[1],
      answer,
    };
  }
  return methods;
}

// typesOf maps "Outer.Inner" to its fields: name to {optional, type}. A type is
// a list of alternatives: {value} | {name} | {array} | {any: true}.
function typesOf(text) {
  const tokens = text.match(/'[^']*'|[\w$.]+|[^\s]/g);
  const types = {};
  let i = 0;
  const next = () => tokens[i++];
  const expect = (want) => {
    const got = next();
    if (got !== want) throw new Error(`${want} expected, got ${got} after ${tokens.slice(i - 12, i).join(' ')}`);
  };

  const type = () => {
    const alternatives = [];
    if (tokens[i] === '|') next();
    do alternatives.push(...single()); while (tokens[i] === '|' && next());
    return alternatives;
  };
  const single = () => {
    const token = next();
    let found;
    if (token === '(') {
      found = type();
      expect(')');
    } else if (token === '{') {
      skip('{', '}');
      found = [{ any: true }];
    } else if (token === 'Array') {
      expect('<');
      found = [{ array: type() }];
      expect('>');
    } else if (token.startsWith("'")) found = [{ value: token.slice(1, -1) }];
    else found = [token === 'unknown' ? { any: true } : { name: token }];
    while (tokens[i] === '[' && tokens[i + 1] === ']') {
      i += 2;
      found = [{ array: found }];
    }
    return found;
  };
  const skip = (open, close) => {
    for (let depth = 1; depth > 0; ) {
      const token = next();
      if (token === open) depth++;
      if (token === close) depth--;
    }
  };
  const fields = () => {
    const all = {};
    expect('{');
    while (tokens[i] !== '}') {
      if (tokens[i] === '[') { // [name: string]: anything
        while (next() !== ']');
        expect(':');
        type();
        expect(';');
        continue;
      }
      const name = next().replace(/^'|'$/g, '');
      const optional = tokens[i] === '?' && Boolean(next());
      expect(':');
      all[name] = { optional, type: type() };
      expect(';');
    }
    expect('}');
    return all;
  };
  const block = (scope) => {
    while (i < tokens.length && tokens[i] !== '}') {
      const token = next();
      if (token === 'interface') {
        const name = scope + next();
        types[name] = fields();
      } else if (token === 'namespace') {
        const name = scope + next();
        expect('{');
        block(`${name}.`);
        expect('}');
      } else if (token === '{') skip('{', '}');
    }
  };
  block('');
  return types;
}

// resolve finds a name from inside the interface scope.
export function resolve(types, name, scope) {
  for (let outer = scope; ; outer = outer.slice(0, outer.lastIndexOf('.'))) {
    const full = outer ? `${outer}.${name}` : name;
    if (types[full]) return full;
    if (!outer.includes('.')) return types[name] ? name : undefined;
  }
}

// check holds an answer against the type that the client gives it.
export function check(types, answer, value) {
  const found = { extra: [], nulls: [], problems: [] };
  object(types, answer, value, '', found);
  return found;
}

const join = (at, name) => (at ? `${at}.${name}` : name);

function object(types, name, value, at, found) {
  if (typeof value !== 'object' || Array.isArray(value)) {
    found.problems.push(`${at}: not an object`);
    return;
  }
  for (const [field, { type }] of Object.entries(types[name])) {
    const below = join(at, field);
    if (value[field] !== undefined) one(types, name, type, value[field], below, found);
    else if (!type.some((t) => t.any)) found.problems.push(`${below}: the server left it out`);
  }
  for (const field of Object.keys(value)) if (!types[name][field]) found.extra.push(join(at, field));
}

function one(types, scope, alternatives, value, at, found) {
  if (value === null) {
    if (!alternatives.some((t) => t.name === 'null' || t.any)) found.nulls.push(at);
    return;
  }
  // Of several objects, the one that fits best.
  let best;
  for (const t of alternatives) {
    const tried = { extra: [], nulls: [], problems: [] };
    if (t.any) return;
    if (t.value !== undefined) {
      if (value === t.value) return;
      tried.problems.push(`${at}: the client does not know ${JSON.stringify(value)}`);
    } else if (t.array) {
      if (Array.isArray(value)) value.forEach((v, i) => one(types, scope, t.array, v, join(at, i), tried));
      else tried.problems.push(`${at}: not an array`);
    } else {
      const name = resolve(types, t.name, scope);
      if (name && typeof value === 'object') object(types, name, value, at, tried);
      else if (typeof value === 'object' && alternatives.some((other) => other.name && resolve(types, other.name, scope))) continue;
      else if (typeof value !== t.name) tried.problems.push(`${at}: a ${typeof value}, and the client declares ${t.name}`);
    }
    if (!best || misfit(tried) < misfit(best)) best = tried;
  }
  for (const kind of Object.keys(found)) found[kind].push(...best[kind]);
}

// misfit weighs what is wrong: a value that is not allowed is worse than none.
const misfit = ({ problems }) => problems.reduce((sum, p) => sum + (p.endsWith('left it out') ? 1 : 100), 0);

// leaves lists the parameters of a params type, except those of the path.
export function leaves(types, name, at = '') {
  const all = [];
  for (const [field, { type }] of Object.entries(types[name] ?? {})) {
    if (!at && ['account_id', 'app_id'].includes(field)) continue;
    const inner = type.map((t) => t.name && resolve(types, t.name, name)).filter(Boolean);
    if (inner.length) for (const i of inner) all.push(...leaves(types, i, join(at, field)));
    else all.push(join(at, field));
  }
  return [...new Set(all)].sort();
}
