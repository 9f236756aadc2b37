// Judges an access token by Twilio's own library: verifies it as Twilio's servers would, and compares it with the token that
// the library makes from the same facts. Reads {token, account, key, secret, service, identity} as JSON from standard input;
// ends with 0 when all agrees, and otherwise says what does not.

import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import jsonwebtoken from 'jsonwebtoken';
import twilio from 'twilio';

const { token, account, key, secret, service, identity } = JSON.parse(await text(process.stdin));
const verify = (jwt) => jsonwebtoken.verify(jwt, secret, { algorithms: ['HS256'], complete: true });
const ours = verify(token);

const { AccessToken } = twilio.jwt;
const ttl = ours.payload.exp - ours.payload.iat;
const made = new AccessToken(account, key, secret, { identity, ttl });
made.addGrant(new AccessToken.ChatGrant({ serviceSid: service }));
const theirs = verify(made.toJwt());

assert.deepEqual(ours.header, theirs.header);
assert.deepEqual(Object.keys(ours.payload).sort(), Object.keys(theirs.payload).sort());
// Theirs is made a moment later, and its `jti` counts seconds.
const timeless = ({ jti, iat, exp, ...rest }) => ({ ...rest, life: exp - iat });
assert.deepEqual(timeless(ours.payload), timeless(theirs.payload));
assert.equal(typeof ours.payload.jti, typeof theirs.payload.jti);
assert.ok(Math.abs(ours.payload.iat - theirs.payload.iat) < 60, 'issued at another time');
