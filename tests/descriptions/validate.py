"""Holds the descriptions against the official schemas: python validate.py OPENAPI ASYNCAPI SCHEMA_OF_ASYNCAPI"""

import json
import sys

from jsonschema_rs import Draft7Validator
from openapi_spec_validator import validate

openapi, asyncapi, schema = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:])
validate(openapi)
wrong = [f"{list(error.instance_path)}: {error.message}" for error in Draft7Validator(schema).iter_errors(asyncapi)]
sys.exit("\n".join(wrong) or 0)
