target "app" {
 matrix = {a=[]}
 name="x${a}"
}
target "default" {}
