target "app" {
 name = "a1"
 matrix={}
}
target "app" {
 name = "a2"
 matrix={}
}
