#!/usr/bin/env python3
"""sbom.py VERSION PROGRAM DEBIAN-PACKAGE...: prints the bill of materials of the packages as SPDX 2.3 (JSON).

It lists the program with its checksum, the Swift packages that SwiftPM resolved (.build/workspace-state.json), the
Swift runtime, and the Debian packages whose libraries are linked in or bundled.
"""
import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import uuid

LICENCES = {
    "libfuse3-dev": "LGPL-2.1-only", "libstdc++6": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libcurl4": "curl", "libcurl4t64": "curl", "libssl3": "Apache-2.0", "libssl3t64": "Apache-2.0",
    "libnghttp2-14": "MIT", "libzstd1": "BSD-3-Clause", "libbrotli1": "MIT",
}


def identifier(name: str) -> str:
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", name)


def package(name: str, version: str, licence: str, url: str, purl: str, **more: object) -> dict:
    """One component, by its purl."""
    return {
        "SPDXID": identifier(name), "name": name, "versionInfo": version, "downloadLocation": url or "NOASSERTION",
        "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}],
        **more,
    }


def swift_packages() -> list[dict]:
    """What SwiftPM resolved. The location is that of Package.swift: a mirror's says nothing to others."""
    with open(".build/workspace-state.json", encoding="utf-8") as file:
        found = json.load(file)["object"]["dependencies"]
    packages = []
    for one in sorted(found, key=lambda one: one["packageRef"]["identity"]):
        name, state = one["packageRef"]["identity"], one["state"].get("checkoutState", {})
        version = state.get("version") or state.get("revision", "NOASSERTION")
        url = one["packageRef"]["location"].removesuffix(".git")
        place = url.split("://")[-1]
        licence = LICENCES.get(name, "Apache-2.0")
        packages.append(package(name, version, licence, url, f"pkg:swift/{place}@{version}"))
    compiler = subprocess.run(["swift", "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"Swift version (\S+)", compiler)
    version = match.group(1) if match else "NOASSERTION"
    licence = "Apache-2.0 WITH Swift-exception"
    return [*packages, package("swift-runtime", version, licence, "https://www.swift.org", f"pkg:generic/swift@{version}")]


def debian_packages(names: list[str]) -> list[dict]:
    """Libraries of the distribution that this was built on."""
    with open("/etc/os-release", encoding="utf-8") as file:
        system = dict(line.rstrip().replace('"', "").split("=", 1) for line in file if "=" in line)
    packages = []
    for name in dict.fromkeys(names):
        query = ["dpkg-query", "-W", "-f", "${Version}\t${source:Package}\t${source:Version}\t${Architecture}", name]
        version, source, _, architecture = subprocess.run(
            query, capture_output=True, text=True, check=True).stdout.split("\n")[0].split("\t")
        purl = f"pkg:deb/{system['ID']}/{name.replace('+', '%2B')}@{version.replace('+', '%2B')}?arch={architecture}" \
            f"&distro={system['ID']}-{system['VERSION_ID']}"
        packages.append(package(
            name, version, LICENCES.get(name, "NOASSERTION"), "", purl, sourceInfo=f"Debian source package {source}"))
    return packages


def main() -> None:
    version, program, *names = sys.argv[1:]
    with open(program, "rb") as file:
        checksum = hashlib.sha256(file.read()).hexdigest()
    when = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    own = package(
        "millrace", version, "Apache-2.0", "", f"pkg:generic/millrace@{version}",
        checksums=[{"algorithm": "SHA256", "checksumValue": checksum}], primaryPackagePurpose="APPLICATION")
    parts = swift_packages() + debian_packages(names)
    # The last Debian packages are shared libraries: beside the program in the wheel and the archive.
    relations = [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": own["SPDXID"]}]
    inside = {"libfuse3-dev", "libstdc++6"}
    for one in parts:
        is_linked = one["name"] in inside or "deb/" not in one["externalRefs"][0]["referenceLocator"]
        kind = "STATIC_LINK" if is_linked else "DYNAMIC_LINK"
        relations.append(
            {"spdxElementId": own["SPDXID"], "relationshipType": kind, "relatedSpdxElement": one["SPDXID"]})
    name = f"millrace-{version}-x86_64"
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{name}-{uuid.uuid5(uuid.NAMESPACE_URL, checksum)}",
        "creationInfo": {"created": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: millrace-sbom"]},
        "packages": [own, *parts], "relationships": relations,
    }
    json.dump(document, sys.stdout, indent=2)
    print()


main()
