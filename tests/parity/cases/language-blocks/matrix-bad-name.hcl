target "app" {
 matrix = {a=["a.b"]}
 name=a
}
