"""What one machine of a team does: deploys; or uses what another has deployed; or restores a backup of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sklearn.datasets import load_wine

from mlnb.backup import back_up
from mlnb.project import Project
from mlnb.restore import restore

ROWS = load_wine(as_frame=True).data.head(1).to_dict("records")


def deploy(project: Project) -> dict[str, object]:
    (shipment,) = project.deploy(project.root / "wine.ipynb")
    project.services.stop("wine")
    digests = shipment.version.files.values()
    sealed = not any((project.state.artifacts / "sha256" / one[7:9] / one[7:]).exists() for one in digests)
    return {"ref": shipment.version.ref, "sealed": sealed}


def use(project: Project, file: str) -> dict[str, object]:
    promotion = project.promote("wine@staging", "production", reason="it is good")
    depot = project.state.files.depot
    assert depot is not None
    objects = [*depot.objects("aes256gcm"), *depot.objects("sha256")]
    made = back_up(project.state, project.ledger, Path(file), by="ben")
    assert made.encrypted
    return {
        "promoted": [promotion.to_ref, promotion.alias],
        "predictions": project.predict("wine@production", ROWS)["predictions"],
        "objects": len(objects),
        "all sealed": all(one.name.startswith("aes256gcm/") for one in objects),
        "intact": project.audit.verify(project.state.files).ok,
    }


def take_back(project: Project, file: str) -> dict[str, object]:
    restored = restore(Path(file), project.root, project.settings, by="cleo")
    project.promote("wine/1", "challenger", reason="new rows are numbered after those that were restored")
    return {
        "aliases": project.models.aliases("wine"),
        "intact": restored.intact and project.audit.verify(project.state.files).ok,
        "predictions": project.predict("wine@production", ROWS)["predictions"],
        "runs": len(project.runs.list()),
    }


if __name__ == "__main__":
    act, folder, *rest = sys.argv[1:]
    os.chdir(folder)
    print(json.dumps({"deploy": deploy, "use": use, "restore": take_back}[act](Project(folder), *rest)))
