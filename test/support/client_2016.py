"""A client as of 2016, written from the text of the API and not from the server: client_2016.py JSON."""

import hashlib
import hmac
import http.client
import json
import re
import sys

options = json.loads(sys.argv[1])
VERSION = 'v1.20160915'
date, host = options['date'], options['host']
body = options['body'].encode()


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256)


iso = re.match(r'(\d{4})-(\d\d)-(\d\d)T', date)
day = ''.join(iso.groups()) if iso else '20161225'
signing_key = digest(digest(options['secret'].encode(), day).digest(), host).digest()
to_sign = '\n'.join([
    options['method'],
    options.get('signedPath', options['path']),
    date,
    'host:' + host,
    'content-type:application/json',
    'x-sorna-version:' + VERSION,
    hashlib.sha256(options.get('signedBody', options['body']).encode()).hexdigest(),
])
connection = http.client.HTTPConnection(host, timeout=20)
connection.request(options['method'], options['path'], body, {
    'Content-Type': 'application/json',
    'Content-Length': str(len(body)),
    options['dateHeader']: date,
    'X-Sorna-Version': VERSION,
    'Authorization': 'Sorna signMethod=HMAC-SHA256, credential=%s:%s' % (options['accessKey'], digest(signing_key, to_sign).hexdigest()),
})
response = connection.getresponse()
headers = {name.lower(): value for name, value in response.getheaders()}
print(json.dumps({'status': response.status, 'headers': headers, 'body': response.read().decode()}))
