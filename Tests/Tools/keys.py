"""The services that give AWS keys, on one port of 127.0.0.1, and what boto3 makes of them.

    keys.py serve PORT [LIFETIME]   STS, instance metadata, container, single sign-on
    keys.py resolve                 lines {"environment": {}, "profile": null} on standard input;
                                    a line {"id", "secret", "token"} or {"error"} for each

A key's secret is "secret-of-" and its id, so that signatures can be verified; what a role gives is
derived from who asks for what, so that two askers can be compared. Standard library but for `resolve`.
"""

import hashlib
import hmac
import http.server
import json
import os
import sys
import time
import urllib.parse

LIFETIME = 3600


def secret(key):
    return "secret-of-" + key


def keys(*what):
    key = "ASIA" + hashlib.sha256("|".join(what).encode()).hexdigest()[:16].upper()
    return key, secret(key), "token-of-" + key


def stamp():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + LIFETIME))


def signer(headers, body):
    """The id of the key that signed a POST to "/"; None where the signature is wrong."""
    try:
        _, rest = headers["authorization"].split(" ", 1)
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        key, date, region, service, _ = parts["Credential"].split("/")
        names = parts["SignedHeaders"].split(";")
        lines = "".join(f"{n}:{' '.join(headers[n].split())}\n" for n in names)
        canonical = f"POST\n/\n\n{lines}\n{';'.join(names)}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{date}/{region}/{service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n"
        text += hashlib.sha256(canonical.encode()).hexdigest()
        known = b"AWS4" + secret(key).encode()
        for part in (date, region, service, "aws4_request"):
            known = hmac.new(known, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(known, text.encode(), hashlib.sha256).hexdigest()
        return key if hmac.compare_digest(signature, parts["Signature"]) else None
    except (KeyError, ValueError, AttributeError):
        return None


class Services(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json"):
        body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def refuse(self, code, message):
        self.answer(
            403, f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error>"
            "</ErrorResponse>", "text/xml")

    def do_PUT(self):
        self.body()
        if self.path == "/latest/api/token":
            return self.answer(200, "metadata-token", "text/plain")
        self.answer(404, "no")

    def do_POST(self):
        body = self.body()
        if self.path == "/token":
            return self.renew_sign_on(json.loads(body))
        form = dict(urllib.parse.parse_qsl(body.decode()))
        action = form.get("Action")
        if action == "AssumeRole":
            asker = signer(self.headers, body)
            if asker is None:
                return self.refuse("SignatureDoesNotMatch", "the signature is wrong")
            # Keys of a role are good only with their token.
            if asker.startswith("ASIA") and self.headers.get("x-amz-security-token") != "token-of-" + asker:
                return self.refuse("InvalidClientTokenId", "the token is wrong")
        elif action == "AssumeRoleWithWebIdentity":
            if self.headers.get("authorization"):
                return self.refuse("ValidationError", "must not be signed")
            asker = form.get("WebIdentityToken")
        else:
            return self.refuse("InvalidAction", "no such action")
        if "forbidden" in form["RoleArn"]:
            return self.refuse("AccessDenied", "not authorized to assume the role")
        key, hidden, token = keys(
            form["RoleArn"], asker, form.get("ExternalId", ""), form.get("DurationSeconds", ""))
        self.answer(
            200,
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
            "<AssumedRoleUser><AssumedRoleId>A:s</AssumedRoleId>"
            f"<Arn>{form['RoleArn']}</Arn></AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId>"
            f"<SecretAccessKey>{hidden}</SecretAccessKey><SessionToken>{token}</SessionToken>"
            f"<Expiration>{stamp()}</Expiration></Credentials></{action}Result></{action}Response>",
            "text/xml")

    def renew_sign_on(self, form):
        if form.get("refreshToken") != "good-refresh" or form.get("clientSecret") != "client-secret":
            return self.answer(400, {"error": "invalid_grant"})
        self.answer(200, {
            "accessToken": "renewed-token", "expiresIn": 3600, "tokenType": "Bearer",
            "refreshToken": "good-refresh"})

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        roles = "/latest/meta-data/iam/security-credentials/"
        if url.path == "/" and url.query == "session=":
            # S3 Express: the session's token names who opened it.
            asker = self.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
            if "/s3express/aws4_request" not in self.headers.get("authorization", ""):
                return self.refuse("AccessDenied", "signed for another service")
            key, hidden, token = keys("session", asker, str(time.time_ns()))
            return self.answer(
                200, f"<CreateSessionResult><Credentials><SessionToken>{token}</SessionToken>"
                f"<SecretAccessKey>{hidden}</SecretAccessKey><AccessKeyId>{key}</AccessKeyId>"
                f"<Expiration>{stamp()}</Expiration></Credentials></CreateSessionResult>", "text/xml")
        if url.path.startswith("/latest/"):
            if self.headers.get("x-aws-ec2-metadata-token") != "metadata-token":
                return self.answer(401, "no", "text/plain")
            if url.path == roles:
                return self.answer(200, "the role", "text/plain")
            if url.path == roles + "the%20role" or url.path == roles + "the role":
                key, hidden, token = keys("instance")
                return self.answer(200, {
                    "Code": "Success", "AccessKeyId": key, "SecretAccessKey": hidden, "Token": token,
                    "Expiration": stamp()})
            if url.path == "/latest/meta-data/placement/region":
                return self.answer(200, "eu-central-7", "text/plain")
            return self.answer(404, "no", "text/plain")
        if url.path == "/container":
            if self.headers.get("authorization", "") != query.get("auth", ""):
                return self.answer(401, {"code": "InvalidToken", "message": "who are you"})
            key, hidden, token = keys("container", str(query.get("n", "")))
            return self.answer(200, {
                "AccessKeyId": key, "SecretAccessKey": hidden, "Token": token, "Expiration": stamp()})
        if url.path == "/rotating":
            # Others at each asking.
            key, hidden, token = keys("rotating", str(time.time_ns()))
            return self.answer(200, {
                "AccessKeyId": key, "SecretAccessKey": hidden, "Token": token, "Expiration": stamp()})
        if url.path == "/federation/credentials":
            given = self.headers.get("x-amz-sso_bearer_token")
            if given not in ("good-token", "renewed-token"):
                return self.answer(401, {"message": "Session token not found or invalid"})
            key, hidden, token = keys("sso", query["account_id"], query["role_name"], given)
            return self.answer(200, {"roleCredentials": {
                "accessKeyId": key, "secretAccessKey": hidden, "sessionToken": token,
                "expiration": int(time.time() + LIFETIME) * 1000}})
        self.answer(404, "no", "text/plain")


def serve(port):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Services)
    server.serve_forever()


def resolve():
    import botocore.session

    for line in sys.stdin:
        case = json.loads(line)
        os.environ.clear()
        os.environ.update(case["environment"])
        try:
            found = botocore.session.Session(profile=case["profile"]).get_credentials()
            frozen = found.get_frozen_credentials() if found else None
            print(json.dumps(
                {"id": frozen.access_key, "secret": frozen.secret_key, "token": frozen.token or ""}
                if frozen else {"error": "none"}))
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}))


if sys.argv[1] == "serve":
    LIFETIME = float(sys.argv[3]) if len(sys.argv) > 3 else LIFETIME
    serve(int(sys.argv[2]))
else:
    resolve()
