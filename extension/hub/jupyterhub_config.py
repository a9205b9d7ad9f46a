"""JupyterHub for one machine, with PROV-CRT Python: `jupyterhub -f jupyterhub_config.py`.

Everybody signs in with one password, and every server runs as the user who started the hub: right for a class on one
machine, for trying it out, and for our tests, which use this file as it is. Where users must be kept apart give each a
container or an account of the system (docs/jupyterhub.md); of what is below only `Spawner.environment` matters then.

==============================  =====================================================================
``PROVCRT_HUB_PASSWORD``        what users sign in with, 8 characters or more; without one nobody can
``PROVCRT_HUB_STATE``           folder for the hub's database and keys; default: ``~/.local/state/provcrt-hub``
``PROVCRT_HUB_HOMES``           folder with a home for each user; default: ``homes`` in the state
``PROVCRT_HUB_URL``             where the proxy listens; default: ``http://127.0.0.1:8000``
``PROVCRT_HUB_PORTS``           two ports on loopback, of the hub and of the proxy's own API: ``8081,8001``
``PROVCRT_HUB_PROXY``           the proxy's program; default: ``configurable-http-proxy``, from npm
``PROVCRT_SHARED``              stores whose records all users may recall, see docs/jupyterhub.md
==============================  =====================================================================
"""

import os
from pathlib import Path

c = get_config()  # noqa: F821

state = Path(os.environ.get("PROVCRT_HUB_STATE", Path.home() / ".local/state/provcrt-hub")).absolute()
homes = Path(os.environ.get("PROVCRT_HUB_HOMES", state / "homes")).absolute()
hub_port, api_port = os.environ.get("PROVCRT_HUB_PORTS", "8081,8001").split(",")
for folder in (state, homes):
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)

c.JupyterHub.bind_url = os.environ.get("PROVCRT_HUB_URL", "http://127.0.0.1:8000")
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = f"sqlite:///{state}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.command = [os.environ.get("PROVCRT_HUB_PROXY", "configurable-http-proxy")]
c.ConfigurableHTTPProxy.pid_file = str(state / "proxy.pid")

c.JupyterHub.authenticator_class = "shared-password"
c.Authenticator.allow_all = True
c.SharedPasswordAuthenticator.user_password = os.environ.get("PROVCRT_HUB_PASSWORD") or None

c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(homes / "{username}")
c.Spawner.default_url = "/lab"
c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []
c.Spawner.environment = {
    # what is outside of the home, such as the data folder of the user who started the hub, is nobody's
    "XDG_DATA_HOME": "",
    **({"PROVCRT_SHARED": os.environ["PROVCRT_SHARED"]} if "PROVCRT_SHARED" in os.environ else {}),
}
