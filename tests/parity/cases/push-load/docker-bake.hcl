target "none" {}
target "image" { output = ["type=image,name=x"] }
target "registry" { output = ["type=registry,name=x"] }
target "docker" { output = ["type=docker"] }
target "docker-dest" { output = ["type=docker,dest=d.tar"] }
target "oci" { output = ["type=oci,dest=o.tar"] }
target "local" { output = ["out"] }
target "both" { output = ["type=docker", "type=image,push=false"] }
target "many" { output = ["type=registry", "type=local,dest=a", "type=local,dest=b", "type=image"] }
target "cacheonly" { output = ["type=cacheonly"] }
target "heir" { inherits = ["image"] }
target "other" { inherits = ["image"] }
target "linker" { contexts = { x = "target:image" } }
