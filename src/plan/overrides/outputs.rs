//! The effect of `--push` and `--load` on the outputs of a target.

use crate::definition::model::{Export, ExportKind, List};
use crate::diag::Spanned;

/// Makes image outputs be pushed, or not be pushed.
///
/// Adds an image output only if there is none, and `own` is empty or has only Docker outputs: `own` are the outputs that
/// the target has without those that `--set T.output+=` has added; the new one belongs to them. Other outputs, such as
/// those that write files, are kept unchanged.
pub(super) fn push(outputs: &mut List<Export>, own: &mut List<Export>, on: &Spanned<bool>) {
    let (on, span) = (on.value, on.span);
    let set_push = |outputs: &mut List<Export>, value: &str| {
        if outputs
            .iter()
            .any(|export| export.kind == ExportKind::Image)
        {
            for export in outputs.make_mut() {
                if export.kind == ExportKind::Image {
                    export.value.attrs.insert("push".into(), value.into());
                }
            }
        }
    };
    if on {
        let only_docker = own.iter().all(|export| export.kind == ExportKind::Docker);
        let has_image = outputs
            .iter()
            .any(|export| matches!(export.kind, ExportKind::Image | ExportKind::Registry));
        set_push(outputs, "true");
        if only_docker && !has_image {
            let mut value = Export::plain(ExportKind::Image);
            value.attrs.insert("push".into(), "true".into());
            insert_after(own, outputs, Spanned { value, span });
        }
        return;
    }
    if outputs
        .iter()
        .any(|export| export.kind == ExportKind::Registry)
    {
        let list = outputs.make_mut();
        let mut at = 0;
        while at < list.len() {
            if list[at].kind == ExportKind::Registry {
                // As in buildx, the last output moves to the place of the removed one.
                list.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }
    set_push(outputs, "false");
}

/// Adds an output that loads the image into Docker, unless there already is one or `own`, as for [`push`], has outputs that
/// write files.
pub(super) fn load(outputs: &mut List<Export>, own: &mut List<Export>, on: &Spanned<bool>) {
    if !on.value {
        return;
    }
    let loads = |export: &Export| export.kind == ExportKind::Docker && export.dest.is_none();
    let writes_files = |export: &Export| match export.kind {
        ExportKind::Docker | ExportKind::Image | ExportKind::Registry | ExportKind::Oci => false,
        ExportKind::Local | ExportKind::Tar | ExportKind::CacheOnly | ExportKind::Other(_) => true,
    };
    if !outputs.iter().any(|export| loads(export)) && !own.iter().any(|export| writes_files(export))
    {
        let value = Export::plain(ExportKind::Docker);
        let span = on.span;
        insert_after(own, outputs, Spanned { value, span });
    }
}

/// Adds `export` to `own`, the first elements of `outputs`, and to `outputs` after these.
fn insert_after(own: &mut List<Export>, outputs: &mut List<Export>, export: Spanned<Export>) {
    let at = own.len().min(outputs.len());
    outputs.make_mut().insert(at, export.clone());
    own.push(export);
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn list(texts: &[&str]) -> List<Export> {
        List::of(
            texts
                .iter()
                .map(|text| Spanned::without_span(Export::from_text(text).unwrap()))
                .collect(),
        )
    }

    #[test_case(&[], &["type=local,dest=d"], &["type=image,push=true", "type=local,dest=d"]; "files")]
    #[test_case(&[], &["type=image,x=1"], &["type=image,x=1,push=true"]; "an image")]
    #[test_case(&[], &["type=registry"], &["type=registry"]; "a registry")]
    #[test_case(&["type=docker"], &["type=tar,dest=t"], &["type=docker", "type=image,push=true", "type=tar,dest=t"]; "to docker")]
    #[test_case(&["type=local,dest=d"], &["type=image"], &["type=local,dest=d", "type=image,push=true"]; "to files")]
    #[test_case(&["type=local,dest=d"], &["type=oci,dest=t"], &["type=local,dest=d", "type=oci,dest=t"]; "files to files")]
    fn push_true_does_for_the_other_outputs_what_it_did_before_some_were_added(
        own: &[&str],
        added: &[&str],
        after: &[&str],
    ) {
        let mut outputs = list(&[own, added].concat());
        push(&mut outputs, &mut list(own), &Spanned::without_span(true));
        assert_eq!(outputs, list(after));
    }

    #[test_case(&[], &["type=local,dest=d"], &["type=docker", "type=local,dest=d"]; "files")]
    #[test_case(&[], &["type=docker"], &["type=docker"]; "docker")]
    #[test_case(&["type=tar,dest=t"], &["type=local,dest=d"], &["type=tar,dest=t", "type=local,dest=d"]; "files to files")]
    fn load_true_does_for_the_other_outputs_what_it_did_before_some_were_added(
        own: &[&str],
        added: &[&str],
        after: &[&str],
    ) {
        let mut outputs = list(&[own, added].concat());
        load(&mut outputs, &mut list(own), &Spanned::without_span(true));
        assert_eq!(outputs, list(after));
    }

    #[test_case(&[], &["type=image,push=true"]; "nothing")]
    #[test_case(&["type=image,x=1"], &["type=image,x=1,push=true"]; "image")]
    #[test_case(&["type=registry"], &["type=registry"]; "registry")]
    #[test_case(&["type=local,dest=d"], &["type=local,dest=d"]; "files")]
    #[test_case(&["type=oci"], &["type=oci"]; "layout")]
    #[test_case(&["type=docker"], &["type=docker", "type=image,push=true"]; "docker")]
    #[test_case(&["type=docker", "type=image"], &["type=docker", "type=image,push=true"]; "both")]
    fn push_true_adds_or_changes_outputs(before: &[&str], after: &[&str]) {
        let mut outputs = list(before);
        push(
            &mut outputs,
            &mut list(before),
            &Spanned::without_span(true),
        );
        assert_eq!(outputs, list(after));
    }

    #[test_case(&["type=image"], &["type=image,push=false"]; "image")]
    #[test_case(&["type=registry", "type=local,dest=a", "type=local,dest=b"], &["type=local,dest=b", "type=local,dest=a"]; "registry")]
    #[test_case(&["type=registry"], &[]; "nothing left")]
    #[test_case(&["type=docker"], &["type=docker"]; "docker")]
    fn push_false_stops_outputs_from_pushing(before: &[&str], after: &[&str]) {
        let mut outputs = list(before);
        push(
            &mut outputs,
            &mut list(before),
            &Spanned::without_span(false),
        );
        assert_eq!(outputs, list(after));
    }

    #[test_case(&[], &["type=docker"]; "nothing")]
    #[test_case(&["type=docker"], &["type=docker"]; "docker")]
    #[test_case(&["type=docker,dest=d"], &["type=docker,dest=d", "type=docker"]; "archive")]
    #[test_case(&["type=registry"], &["type=registry", "type=docker"]; "registry")]
    #[test_case(&["type=oci"], &["type=oci", "type=docker"]; "layout")]
    #[test_case(&["type=image", "type=local,dest=d"], &["type=image", "type=local,dest=d"]; "files")]
    #[test_case(&["type=cacheonly"], &["type=cacheonly"]; "cache")]
    fn load_true_adds_an_output_to_docker(before: &[&str], after: &[&str]) {
        let mut outputs = list(before);
        load(
            &mut outputs,
            &mut list(before),
            &Spanned::without_span(true),
        );
        assert_eq!(outputs, list(after));
        let mut outputs = list(before);
        load(
            &mut outputs,
            &mut list(before),
            &Spanned::without_span(false),
        );
        assert_eq!(outputs, list(before));
    }
}
