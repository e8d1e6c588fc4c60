target "default" { extra-hosts = null }
