//! `#[derive(Trace)]` for `freestone-gc`; see the trait `freestone_gc::Trace`.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, GenericParam, Lifetime, parse_macro_input};

/// Derives `Trace` and `Branded`. The lifetime parameter, of which there may be one, is the brand.
#[proc_macro_derive(Trace, attributes(gc))]
pub fn derive_trace(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// What `#[gc(...)]` says.
#[derive(Clone, Copy, Default)]
struct Marks {
    leaf: bool,
    recursive: bool,
}

fn marks(attributes: &[Attribute]) -> syn::Result<Marks> {
    let mut marks = Marks::default();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("gc")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("leaf") {
                marks.leaf = true;
            } else if meta.path.is_ident("recursive") {
                marks.recursive = true;
            } else {
                return Err(meta.error("allowed are `#[gc(leaf)]` (no pointers in it) and `#[gc(recursive)]` (the type contains itself by way of this field)"));
            }
            Ok(())
        })?;
    }
    Ok(marks)
}

fn all_fields(data: &Data) -> syn::Result<Vec<&Field>> {
    match data {
        Data::Struct(data) => Ok(data.fields.iter().collect()),
        Data::Enum(data) => Ok(data.variants.iter().flat_map(|variant| variant.fields.iter()).collect()),
        Data::Union(data) => Err(Error::new(
            data.union_token.span(),
            "a union cannot be traced: nobody knows which of its fields holds a pointer",
        )),
    }
}

/// The arms of the match that traces: each field that may hold pointers is bound by reference.
fn arms(name: &syn::Ident, data: &Data) -> syn::Result<Vec<Tokens>> {
    let arm = |path: Tokens, fields: &Fields| -> syn::Result<Tokens> {
        let mut bindings = Vec::new();
        let mut calls = Vec::new();
        for (number, field) in fields.iter().enumerate() {
            if marks(&field.attrs)?.leaf {
                continue;
            }
            let binding = format_ident!("field_{number}");
            let member = match &field.ident {
                Some(ident) => quote!(#ident),
                None => {
                    let index = syn::Index::from(number);
                    quote!(#index)
                }
            };
            bindings.push(quote!(#member: #binding));
            calls.push(quote!(::freestone_gc::Trace::trace(#binding, visitor);));
        }
        Ok(quote!(#path { #(#bindings,)* .. } => { #(#calls)* }))
    };
    match data {
        Data::Struct(data) => Ok(vec![arm(quote!(#name), &data.fields)?]),
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| {
                let ident = &variant.ident;
                arm(quote!(#name::#ident), &variant.fields)
            })
            .collect(),
        Data::Union(_) => Ok(Vec::new()),
    }
}

fn expand(input: &DeriveInput) -> syn::Result<Tokens> {
    let name = &input.ident;
    let whole = marks(&input.attrs)?;
    if whole.recursive {
        return Err(Error::new(
            name.span(),
            "`#[gc(recursive)]` belongs to the field by way of which the type contains itself",
        ));
    }
    let mut lifetimes = input.generics.lifetimes();
    let brand = lifetimes.next().map(|parameter| parameter.lifetime.clone());
    if let Some(second) = lifetimes.next() {
        return Err(Error::new(
            second.span(),
            "a traced type has one lifetime, the brand of its heap: what lives in a heap cannot borrow from elsewhere",
        ));
    }
    if whole.leaf
        && let Some(brand) = &brand
    {
        return Err(Error::new(
            brand.span(),
            "`#[gc(leaf)]` is for types without a lifetime: this one can hold pointers",
        ));
    }
    let fields = all_fields(&input.data)?;
    let gc = brand.clone().unwrap_or_else(|| Lifetime::new("'gc", name.span()));

    // Constants and bounds, a field each.
    let mut needs = Vec::new();
    let mut sendable = Vec::new();
    let mut leaves = Vec::new();
    for field in &fields {
        let ty = &field.ty;
        let Marks { leaf, recursive } = marks(&field.attrs)?;
        if leaf || whole.leaf {
            leaves.push(quote!(::freestone_gc::derived::leaf::<#ty>();));
            sendable.push(quote!({
                #[allow(unused_imports)]
                use ::freestone_gc::derived::NotSendable as _;
                ::freestone_gc::derived::Probe::<#ty>::SENDABLE
            }));
        } else if recursive {
            needs.push(quote!(true));
            sendable.push(quote!(false));
        } else {
            needs.push(quote!(<#ty as ::freestone_gc::Trace<#gc>>::NEEDS_TRACE));
            sendable.push(quote!(<#ty as ::freestone_gc::Trace<#gc>>::SENDABLE));
        }
    }
    let arms = if whole.leaf { vec![quote!(_ => {})] } else { arms(name, &input.data)? };
    let body = if fields.is_empty() || whole.leaf {
        quote!(let _ = visitor;)
    } else {
        quote!(match self { #(#arms)* })
    };

    // The generics of the trait's implementation: the brand in front, `Trace` on every type parameter.
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(syn::parse_quote!(::freestone_gc::Trace<#gc>));
    }
    if brand.is_none() {
        generics.params.insert(0, GenericParam::Lifetime(syn::LifetimeParam::new(gc.clone())));
    }
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let (plain_generics, type_generics, plain_where) = input.generics.split_for_impl();

    // Without any parameter the type is `'static`, and all that its destructor can reach is its own.
    let holds = brand.is_some() || input.generics.type_params().next().is_some();
    let no_drop = (!whole.leaf && holds).then(|| {
        quote! {
            #[automatically_derived]
            impl #plain_generics ::freestone_gc::derived::MayNotDrop for #name #type_generics #plain_where {}
        }
    });
    let branded = branded(input, brand.as_ref());
    Ok(quote! {
        // SAFETY: every field that is not a leaf is traced; the leaves are `'static`, which is checked.
        #[automatically_derived]
        unsafe impl #impl_generics ::freestone_gc::Trace<#gc> for #name #type_generics #where_clause {
            const NEEDS_TRACE: bool = false #(|| #needs)*;
            const SENDABLE: bool = { #(#leaves)* true #(&& #sendable)* };

            #[inline]
            #[allow(unused_variables)]
            fn trace<GcVisitor: ::freestone_gc::collector::Visitor>(&mut self, visitor: &mut GcVisitor) {
                #body
            }
        }
        #no_drop
        #branded
    })
}

/// `Branded` for the type with `'static` for its brand, and all its type parameters branded.
fn branded(input: &DeriveInput, brand: Option<&Lifetime>) -> Tokens {
    let name = &input.ident;
    let mut generics = input.generics.clone();
    generics.params =
        generics.params.into_iter().filter(|p| !matches!(p, GenericParam::Lifetime(_))).collect();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(syn::parse_quote!(::freestone_gc::Branded));
    }
    let arguments = |lifetime: Tokens, of: bool| {
        let arguments = input.generics.params.iter().map(|parameter| match parameter {
            GenericParam::Lifetime(_) => lifetime.clone(),
            GenericParam::Type(parameter) => {
                let ident = &parameter.ident;
                if of { quote!(<#ident as ::freestone_gc::Branded>::Of<'of>) } else { quote!(#ident) }
            }
            GenericParam::Const(parameter) => {
                let ident = &parameter.ident;
                quote!(#ident)
            }
        });
        quote!(<#(#arguments),*>)
    };
    let here = arguments(quote!('static), false);
    let there = arguments(quote!('of), true);
    let (impl_generics, _, _) = generics.split_for_impl();
    if brand.is_some() || !generics.params.is_empty() {
        // A bound of the type's own may not hold for the branded parameters; then there is no such implementation to be had.
        if input.generics.where_clause.is_some() || input.generics.type_params().any(|p| !p.bounds.is_empty())
        {
            return Tokens::new();
        }
    }
    quote! {
        #[automatically_derived]
        impl #impl_generics ::freestone_gc::Branded for #name #here {
            type Of<'of> = #name #there;
        }
    }
}
