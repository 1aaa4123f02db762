"""The named filter configurations, without their transport parts."""

from mint import AUDIENCE, ISSUER, ZONE


def config(**requirements) -> dict:
    return {"issuer": ISSUER, "zone_id": ZONE, "audience": AUDIENCE, **requirements}


ALL = {
    "required_scopes": ["read", "pay"],
    "required_targets": ["res-1"],
    "require_session": True,
    "require_delegation": True,
    "require_chain_contains": ["app-a"],
    "max_hop_count": 3,
}

CONFIGS = {
    "default": config(),
    "issuer-slash": config(issuer=ISSUER + "/"),
    "scope-pay": config(required_scopes=["pay"]),
    "scopes": config(required_scopes=["read", "pay"]),
    "scope-case": config(required_scopes=["Pay"]),
    "scope-unicode": config(required_scopes=["zahlung:\u00fc"]),
    "session-use": config(required_use="session"),
    "resource-use": config(required_use="resource"),
    "session": config(require_session=True),
    "delegation": config(require_delegation=True),
    "chain": config(require_chain_contains=["app-a"]),
    "chain-two": config(require_chain_contains=["app-a", "app-b"]),
    "hops-1": config(max_hop_count=1),
    "hops-0": config(max_hop_count=0),
    "hops-20": config(max_hop_count=20),
    "target": config(required_targets=["res-1"]),
    "targets": config(required_targets=["res-1", "res-2"]),
    "all": config(**ALL),
    "routes": config(
        required_scopes=["read"],
        routes={
            "/payouts": {"required_scopes": ["pay"]},
            "/payouts/admin": {"required_scopes": ["admin"], "require_session": True},
            "/reports/": {"required_scopes": []},
            "/empty": {},
        },
        exclude=["/health", "/payouts/public/"],
    ),
    "routes-root": config(
        required_scopes=["read"],
        routes={"/": {"required_scopes": ["root"]}, "/open": {"required_scopes": []}},
    ),
    "routes-all": config(
        **ALL,
        routes={
            "/scopes": {"required_scopes": []},
            "/targets": {"required_targets": []},
            "/session": {"require_session": False},
            "/delegation": {"require_delegation": False},
            "/chain": {"require_chain_contains": []},
            "/hops": {"max_hop_count": 5},
            "/use": {"required_use": "session"},
            "/nothing": {
                "required_scopes": [], "required_targets": [], "require_session": False,
                "require_delegation": False, "require_chain_contains": [],
            },
        },
    ),
    "routes-hops": config(max_hop_count=2, routes={"/deep": {"max_hop_count": 4},
                                                   "/flat": {"max_hop_count": 0}}),
    "resources": {
        "issuer": ISSUER, "zone_id": ZONE, "required_scopes": ["read"],
        "resources": {
            "resource://payouts": {
                "audience": AUDIENCE, "required_scopes": ["pay"], "exclude": ["/health"],
                "routes": {"/invoices": {"methods": {
                    "GET": {"required_scopes": ["read"]},
                    "POST": {"required_scopes": ["write"], "require_session": True},
                }}},
            },
            "https://reports.example.test": {},
            "resource://ledger": {"hosts": ["ledger.test", "[::1]"]},
        },
    },
    "one-resource": {
        "issuer": ISSUER, "zone_id": ZONE, "resources": {"resource://payouts": {"audience": AUDIENCE}},
    },
    "eddsa": config(algorithms=["ES256", "EdDSA"]),
    "eddsa-scope": config(algorithms=["ES256", "EdDSA"], required_scopes=["pay"]),
    "es256-only": config(algorithms=["ES256"]),
}
