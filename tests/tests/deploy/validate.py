"""Checks what comes on standard input against schemas and parsers that others wrote; prints one problem per line.

validate.py kubernetes VERSION   documents of Kubernetes (kubernetes-validate, strict) and of KEDA
validate.py promql               one expression per line (promql-parser)
"""

import copy
import functools
import sys


def closed(schema):
    """The schema with every object closed: a misspelt key is a problem, wherever it stands."""
    if isinstance(schema, dict):
        schema = {key: closed(value) for key, value in schema.items()}
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        return schema
    return [closed(item) for item in schema] if isinstance(schema, list) else copy.copy(schema)


@functools.cache
def keda_validator(kind):
    """From the models that cloudcoil generates from KEDA's own definitions. Of the metadata it knows less than we."""
    import jsonschema
    from cloudcoil.models.keda import v1alpha1

    schema = closed(getattr(v1alpha1, kind).model_json_schema(by_alias=True))
    return jsonschema.Draft202012Validator(schema)


def kubernetes(version):
    import kubernetes_validate
    import yaml

    if version == "latest":
        version = kubernetes_validate.latest_version()
    for document in yaml.safe_load_all(sys.stdin):
        name = f"{document['kind']} {document['metadata']['name']}"
        if document["apiVersion"] == "keda.sh/v1alpha1":
            for error in keda_validator(document["kind"]).iter_errors(document):
                print(f"{name}: {'.'.join(map(str, error.absolute_path))}: {error.message}")
            continue
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            print(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")


def promql():
    import promql_parser

    for line in sys.stdin:
        try:
            promql_parser.parse(line.strip())
        except ValueError as error:
            print(f"{line.strip()}: {error}")


if sys.argv[1] == "kubernetes":
    kubernetes(sys.argv[2])
else:
    promql()
