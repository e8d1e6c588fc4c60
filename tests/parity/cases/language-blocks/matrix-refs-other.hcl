target "b" { tags=["1","2"] }
target "app" {
 matrix = {a=target.b.tags}
 name="x${a}"
}
