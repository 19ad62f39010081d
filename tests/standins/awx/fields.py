# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of AWX' API that the collection uses, with the fields that a client may write.

Names are those of the serializers in awx/api/serializers.py of AWX 24.6; a field that they only show is not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["KINDS", "Kind"]

Json = dict[str, Any]

# Of every object that can be run: UnifiedJobTemplateSerializer.
RUNNABLE: Json = {"execution_environment": None}
ASKED = ("inventory", "limit", "scm_branch", "labels", "tags", "skip_tags", "variables")
ASKED_OF_JOBS = (
    *("diff_mode", "job_type", "verbosity", "credential", "execution_environment"),
    *("forks", "job_slice_count", "timeout", "instance_groups"),
)
# LaunchConfigurationBaseSerializer
LAUNCH: Json = {
    **{"extra_data": {}, "inventory": None, "scm_branch": None, "job_type": None, "job_tags": None},
    **{"skip_tags": None, "limit": None, "diff_mode": None, "verbosity": None, "execution_environment": None},
    **{"forks": None, "job_slice_count": None, "timeout": None},
}


@dataclass(frozen=True)
class Kind:
    """What one list of the API holds.

    `fields` maps what may be written to the value of an object that leaves it out. `unique` fields together name one
    object. `links` are lists of other objects beside it. `shown` is what AWX shows and does not let be written; awx.awx
    sends some of it back, which AWX ignores.
    """

    type: str
    fields: Json
    required: tuple[str, ...] = ("name",)
    unique: tuple[str, ...] = ("name",)
    choices: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    survey: bool = False
    shown: Json = field(default_factory=dict)


NAMED: Json = {"name": "", "description": ""}
NOTIFIED = ("notification_templates_started", "notification_templates_success", "notification_templates_error")

KINDS: dict[str, Kind] = {
    "organizations": Kind(
        "organization", {**NAMED, "max_hosts": 0, "default_environment": None}, links=("galaxy_credentials", *NOTIFIED)
    ),
    "credential_types": Kind(
        "credential_type",
        {**NAMED, "kind": "", "inputs": {}, "injectors": {}},
        required=("name", "kind"),
        choices={"kind": ("cloud", "net")},
        shown={"managed": False, "namespace": None},
    ),
    # Never made by the collection: somebody types them in.
    "credentials": Kind(
        "credential",
        {**NAMED, "organization": None, "credential_type": None, "inputs": {}},
        ("name", "credential_type"),
    ),
    "execution_environments": Kind(
        "execution_environment",
        {**NAMED, "organization": None, "image": "", "credential": None, "pull": ""},
        required=("name", "image"),
        choices={"pull": ("", "always", "missing", "never")},
    ),
    "projects": Kind(
        "project",
        {
            **NAMED,
            **{
                "local_path": "",
                "scm_type": "",
                "scm_url": "",
                "scm_branch": "",
                "scm_refspec": "",
                "scm_clean": False,
            },
            **{"scm_track_submodules": False, "scm_delete_on_update": False, "credential": None, "timeout": 0},
            **{"organization": None, "scm_update_on_launch": False, "scm_update_cache_timeout": 0},
            **{"allow_override": False, "default_environment": None, "signature_validation_credential": None},
        },
        unique=("name", "organization"),
        choices={"scm_type": ("", "git", "svn", "insights", "archive")},
        shown={"scm_revision": "", "status": "never updated"},
        links=NOTIFIED,
    ),
    "inventories": Kind(
        "inventory",
        {
            **NAMED,
            **{"organization": None, "kind": "", "host_filter": None, "variables": ""},
            **{"prevent_instance_group_fallback": False},
        },
        required=("name", "organization"),
        unique=("name", "organization"),
        links=("instance_groups",),
    ),
    "hosts": Kind(
        "host",
        {**NAMED, "inventory": None, "enabled": True, "instance_id": "", "variables": ""},
        required=("name", "inventory"),
        unique=("name", "inventory"),
    ),
    "inventory_sources": Kind(
        "inventory_source",
        {
            **NAMED,
            **RUNNABLE,
            **{"source": "", "source_path": "", "source_vars": "", "scm_branch": "", "credential": None},
            **{"enabled_var": "", "enabled_value": "", "host_filter": "", "overwrite": False, "overwrite_vars": False},
            **{"timeout": 0, "verbosity": 1, "limit": "", "inventory": None, "update_on_launch": False},
            **{"update_cache_timeout": 0, "source_project": None},
        },
        required=("name", "inventory", "source"),
        unique=("name", "inventory"),
        links=NOTIFIED,
    ),
    "job_templates": Kind(
        "job_template",
        {
            **NAMED,
            **RUNNABLE,
            **{"job_type": "run", "inventory": None, "project": None, "playbook": "", "scm_branch": "", "forks": 0},
            **{"limit": "", "verbosity": 0, "extra_vars": "", "job_tags": "", "force_handlers": False, "skip_tags": ""},
            **{"start_at_task": "", "timeout": 0, "use_fact_cache": False, "organization": None, "host_config_key": ""},
            **{f"ask_{name}_on_launch": False for name in (*ASKED, *ASKED_OF_JOBS)},
            **{"survey_enabled": False, "become_enabled": False, "diff_mode": False, "allow_simultaneous": False},
            **{"job_slice_count": 1, "webhook_service": "", "webhook_credential": None},
            **{"prevent_instance_group_fallback": False},
        },
        required=("name", "project", "playbook"),
        unique=("name", "organization"),
        choices={"job_type": ("run", "check"), "verbosity": (0, 1, 2, 3, 4, 5)},
        links=("credentials", "labels", "instance_groups", *NOTIFIED),
        survey=True,
    ),
    "workflow_job_templates": Kind(
        "workflow_job_template",
        {
            **NAMED,
            **{"extra_vars": "", "organization": None, "survey_enabled": False, "allow_simultaneous": False},
            **{"inventory": None, "limit": None, "scm_branch": None, "webhook_service": "", "webhook_credential": None},
            **{"skip_tags": None, "job_tags": None},
            **{f"ask_{name}_on_launch": False for name in ASKED},
        },
        unique=("name", "organization"),
        links=("labels", "notification_templates_approvals", *NOTIFIED),
        survey=True,
    ),
    "workflow_job_template_nodes": Kind(
        "workflow_job_template_node",
        {
            **LAUNCH,
            **{"workflow_job_template": None, "unified_job_template": None},
            **{"all_parents_must_converge": False, "identifier": ""},
        },
        required=("workflow_job_template",),
        unique=("workflow_job_template", "identifier"),
        links=("success_nodes", "failure_nodes", "always_nodes", "credentials", "labels", "instance_groups"),
        shown={"type": "workflow_job_template_node"},
    ),
    # Made at a node, and nowhere else.
    "workflow_approval_templates": Kind(
        "workflow_approval_template", {**NAMED, "execution_environment": None, "timeout": 0}, unique=()
    ),
    "schedules": Kind(
        "schedule",
        {**NAMED, **LAUNCH, "unified_job_template": None, "enabled": True, "rrule": ""},
        required=("name", "unified_job_template", "rrule"),
        unique=("name", "unified_job_template"),
        links=("credentials", "labels", "instance_groups"),
    ),
}
