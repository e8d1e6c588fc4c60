target "app" {
 matrix = {a=[]}
 name="x${a}"
}
