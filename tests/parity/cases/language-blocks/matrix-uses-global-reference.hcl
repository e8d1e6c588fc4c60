G=["1","2"]
target "app" {
 matrix = {a=G}
 name="x${a}"
 args={v=target.b.tags[0]}
}
target "b" { tags=["1","2"] }
