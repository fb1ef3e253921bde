// Points one release of the official JavaScript client at a running server and
// prints what it decoded: node read.mjs VERSION read|write|wrong|create, with
// the target in TALLY_BASE and so on (see ../conformance.go).
import process from 'node:process';

const [version, mode = 'read'] = process.argv.slice(2);
const { default: Cloudflare } = await import(`cloudflare-${version}`);
const six = version.startsWith('6.');

const { TALLY_BASE, TALLY_TOKEN, TALLY_ACCOUNT, TALLY_APP, TALLY_LIVESTREAM, TALLY_SESSION, TALLY_MEETING } = process.env;
const target = { token: TALLY_TOKEN, account: TALLY_ACCOUNT, app: TALLY_APP, livestream: TALLY_LIVESTREAM };
const client = (t) => new Cloudflare({ baseURL: TALLY_BASE, apiToken: t.token, maxRetries: 0 });

// call hides what version 7 renamed: methods end in ID, and app_id is a param
// wherever an object's id is given.
function call(api, t, name, id, params = {}) {
  const p = { account_id: t.account, ...params };
  if (six) {
    const method = name.replace(/ID/g, 'Id');
    return id ? api[method](t.app, id, p) : api[method](t.app, p);
  }
  return id ? api[name](id, { app_id: t.app, ...p }) : api[name](t.app, p);
}

const reading = {};

// put records every leaf of an answer's data; lists are ours, not the client's.
function put(path, value) {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    for (const [name, inner] of Object.entries(value)) put(`${path}.${name}`, inner);
  } else if (!Array.isArray(value)) {
    reading[path] = value;
  }
}

async function add(name, promise) {
  try {
    const answer = await promise;
    put(name, answer.data);
    return answer.data;
  } catch (err) {
    if (!(err instanceof Cloudflare.APIError) || err.status === undefined) throw err;
    const first = err.errors?.[0] ?? {};
    reading[`${name}.error.status`] = err.status;
    reading[`${name}.error.class`] = err.constructor.name;
    reading[`${name}.error.code`] = first.code;
    reading[`${name}.error.message`] = first.message;
    reading[`${name}.error.pointer`] = first.source?.pointer ?? '';
  }
}

async function create(t) {
  const api = client(t);
  for (const [name, body] of [['create', { name: 'made by a client' }], ['create_unnamed', {}]]) {
    const live = api.realtimeKit.livestreams;
    // 7.3.0 has no method that creates an independent livestream.
    await add(name, live.createIndependentLivestream
      ? live.createIndependentLivestream(t.app, { account_id: t.account, ...body })
      : api.post(`/accounts/${t.account}/realtime/kit/${t.app}/livestreams`, { body }));
  }
}

const modes = {
  create: () => create(target),

  async read() {
    const { livestreams, meetings } = client(target).realtimeKit;
    if (TALLY_LIVESTREAM) {
      await add('list', call(livestreams, target, 'getAllLivestreams', ''));
      await add('by_id', call(livestreams, target, 'getLivestreamSessionForLivestreamID', TALLY_LIVESTREAM));
      await add('active', call(livestreams, target, 'getActiveLivestreamsForLivestreamID', TALLY_LIVESTREAM));
    }
    if (TALLY_SESSION) await add('session', call(livestreams, target, 'getLivestreamSessionDetailsForSessionID', TALLY_SESSION));
    if (TALLY_MEETING) {
      await add('meeting_active', call(livestreams, target, 'getMeetingActiveLivestreams', TALLY_MEETING));
      await add('meeting', call(meetings, target, 'getMeetingByID', TALLY_MEETING));
    }
  },

  async write() {
    await create(target);
    const { livestreams, meetings } = client(target).realtimeKit;
    const meeting = await add('new_meeting', call(meetings, target, 'create', '', {
      title: 'made by a client', persist_chat: true, session_keep_alive_time_in_secs: 90,
    }));
    await add('start', call(livestreams, target, 'startLivestreamingAMeeting', meeting.id, {
      name: 'from a meeting', video_config: { width: 1280, height: 720 },
    }));
    await add('start_again', call(livestreams, target, 'startLivestreamingAMeeting', meeting.id));
    for (const name of ['stop', 'stop_again']) {
      await add(name, call(livestreams, target, 'stopLivestreamingAMeeting', meeting.id));
    }
  },

  async wrong() {
    const active = (name, t) => add(name, call(client(t).realtimeKit.livestreams, t, 'getActiveLivestreamsForLivestreamID', t.livestream));
    await active('token', { ...target, token: 'wrong' });
    await active('account', { ...target, account: '0123456789abcdef0123456789abcdef' });
    await active('app', { ...target, app: '0123456789abcdef0123456789abcdef' });
    await active('livestream', { ...target, livestream: '00000000-0000-4000-8000-000000000000' });
    await add('body', client(target).post(`/accounts/${target.account}/realtime/kit/${target.app}/livestreams`, { body: { name: 'two\nlines' } }));
  },
};

await modes[mode]();
console.log(JSON.stringify(reading, null, 2));
