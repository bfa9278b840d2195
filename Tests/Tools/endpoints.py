"""The endpoint cases that botocore publishes with its source, those that concern reads of a bucket.

    endpoints.py FOLDER    downloads botocore's source from PyPI into FOLDER, once

Prints a line a case, fields by tabs: bucket, region, endpoint, flags, URL or "error", service, region.
Flags: dualstack fips accelerate path arnregion noarnregion. Left out are cases of
other operations, without a bucket, of options that Millrace has not (the global endpoint as default,
DisableAccessPoints, S3 Express's control endpoint) and of SigV4A.
"""

import glob
import json
import os
import subprocess
import sys
import tarfile

OTHERS = ["UseGlobalEndpoint", "UseS3ExpressControlEndpoint", "DisableAccessPoints",
          "DisableMultiRegionAccessPoints", "UseObjectLambdaEndpoint", "CopySource"]
FLAGS = [("UseDualStack", "dualstack"), ("UseFIPS", "fips"), ("Accelerate", "accelerate"),
         ("ForcePathStyle", "path"), ("UseArnRegion", "arnregion")]


def source(folder):
    found = glob.glob(folder + "/botocore-*.tar.gz")
    if not found:
        scratch = f"{folder}.{os.getpid()}"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps",
                   "-d", scratch, "botocore"]
        # With the setuptools that are there, else with some that pip gets for it.
        if subprocess.run(command + ["--no-build-isolation"], stdout=sys.stderr).returncode != 0:
            subprocess.run(command, check=True, stdout=sys.stderr)
        if not os.path.isdir(folder):
            os.rename(scratch, folder)
        found = glob.glob(folder + "/botocore-*.tar.gz")
    return found[0]


with tarfile.open(source(sys.argv[1])) as archive:
    name = next(n for n in archive.getnames() if n.endswith("endpoint-rules/s3/endpoint-tests-1.json"))
    cases = json.load(archive.extractfile(name))["testCases"]

for case in cases:
    given = case["params"]
    if not given.get("Bucket") or not given.get("Region") or any(given.get(o) for o in OTHERS):
        continue
    flags = [flag for key, flag in FLAGS if given.get(key) is True]
    if given.get("UseArnRegion") is False:
        flags.append("noarnregion")
    expected = case["expect"]
    url, service, region = "error", "", ""
    if "endpoint" in expected:
        url = expected["endpoint"]["url"]
        schemes = expected["endpoint"].get("properties", {}).get("authSchemes", [])
        if schemes and schemes[0]["name"] == "sigv4a" and len(schemes) == 1:
            continue
        scheme = next((s for s in schemes if s["name"] != "sigv4a"), {})
        service, region = scheme.get("signingName", ""), scheme.get("signingRegion", "")
    print("\t".join([given["Bucket"], given["Region"], given.get("Endpoint", ""), " ".join(flags), url,
                     service, region]))
