target "oci" { output = ["type=oci"] }
target "tar" { output = ["type=tar"] }
target "docker" { output = ["type=docker"] }
