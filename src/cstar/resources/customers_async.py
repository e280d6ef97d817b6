"""The customers of a team (API page "Customers")."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from uuid import UUID

from cstar import models
from cstar._pagination import AsyncPaginator
from cstar._types import NOT_GIVEN, AsyncItems, Json, NotGiven, QueryValue
from cstar.errors import APIError, ConflictError, NotFoundError
from cstar.resources._customer_calls import (
    UpsertSteps,
    bulk_delete_job,
    bulk_import_job,
    bulk_update_job,
    check_email,
    create_call,
    delete_call,
    export_call,
    get_call,
    has_email,
    list_call,
    update_call,
)
from cstar.resources._resource import AsyncResource, async_raw_form

__all__ = ["AsyncCustomers", "AsyncCustomersWithRawResponse"]


class AsyncCustomers(AsyncResource):
    """`client.customers`: the customers of a team, by single and bulk calls."""

    def list(
        self,
        team_id: str | UUID,
        *,
        status: models.CustomerStatus | None = None,
        sentiment: models.CustomerSentiment | None = None,
        search: str | None = None,
        tag: str | None = None,
        page: int = 1,
        page_size: int = 100,
        prefetch: int = 0,
        gapless: bool = False,
        resume: str | None = None,
        extra_query: Mapping[str, QueryValue] | None = None,
    ) -> AsyncPaginator[models.Customer]:
        """List a team's customers, newest first (API page "Customers", List Customers).

        Args:
            team_id: The team's id, a UUID.
            status: Only customers with this status: `"active"` or `"inactive"`.
            sentiment: Only customers with this sentiment: `"happy"`, `"neutral"`, `"frustrated"` or `"angry"`.
            search: Only customers whose name or email address contains this text.
            tag: Only customers with this tag.
            page: The number of the first page. `ListOptions` describes this and the following parameters in detail.
            page_size: Rows per page, 1 to 100.
            prefetch: Number of pages to prefetch while iterating, 0 to 100.
            gapless: Whether to verify that iterating skips no row.
            resume: The checkpoint of an earlier iteration, to continue after it.
            extra_query: Additional query parameters, by the API's names.

        Returns:
            The page, with `data`, `total` and `has_more`. Iterating over it yields its customers and those of all later
            pages, which are fetched lazily.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            APIStatusError: The server returned an error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            async for customer in client.customers.list(team_id, status="active"):
                print(customer.name, customer.email)
            ```
        """
        return self._list(
            list_call(
                team_id,
                status=status,
                sentiment=sentiment,
                search=search,
                tag=tag,
                page=page,
                page_size=page_size,
                prefetch=prefetch,
                gapless=gapless,
                resume=resume,
                extra_query=extra_query,
            )
        )

    async def create(
        self,
        team_id: str | UUID,
        *,
        name: str,
        email: str,
        sentiment: models.CustomerSentiment | None = None,
        status: models.CustomerStatus | None = None,
        tags: builtins.list[str] | tuple[str, ...] | None = None,
        notes: str | None = None,
        custom_fields: Mapping[str, Json] | None = None,
        metadata: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> models.Customer:
        """Create a customer (API page "Customers", Create Customer). Requires a secret key.

        Args:
            team_id: The team's id, a UUID.
            name: Display name.
            email: Email address, unique in the team.
            sentiment: `"happy"`, `"neutral"` (the server's default), `"frustrated"` or `"angry"`.
            status: `"active"` (the server's default) or `"inactive"`.
            tags: Tags.
            notes: Internal notes.
            custom_fields: Custom data: any JSON values.
            metadata: Developer metadata: at most 50 keys of at most 40 characters, values of at most 500.
            extra_body: Additional fields, by the API's names.
            idempotency_key: Identifies this operation: 1 to 255 printable ASCII characters. Repeating the call with the
                same key within 24 hours, in any process, returns the first response and creates no second customer.
                By default a new UUID for each call, sent with all its attempts.

        Returns:
            The customer as stored by the server.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            ConflictError: A customer of the team already has this email address.
            PermissionDeniedError: The key is publishable or belongs to another team.
            APIStatusError: The server returned another error status.
            APIConnectionError: No response was received; repeat the call with the error's `idempotency_key`.

        Example:
            ```python
            jane = await client.customers.create(team_id, name="Jane Doe", email="jane@example.com", tags=["vip"])
            ```
        """
        return await self._send(
            create_call(
                team_id,
                extra_body,
                idempotency_key,
                name=name,
                email=email,
                sentiment=sentiment,
                status=status,
                tags=tags,
                notes=notes,
                custom_fields=custom_fields,
                metadata=metadata,
            )
        )

    async def get(
        self,
        team_id: str | UUID,
        customer_id: str | UUID,
        *,
        expand: str | None = None,
        extra_query: Mapping[str, QueryValue] | None = None,
    ) -> models.CustomerDetail:
        """Get a customer with the 10 newest tickets (API page "Customers", Get Customer).

        Args:
            team_id: The team's id, a UUID.
            customer_id: The customer's id: `cus_…` or a UUID.
            expand: Any value except `"tickets"`, such as `"customer"`, omits the tickets.
            extra_query: Additional query parameters, by the API's names. A list is sent as one parameter per item;
                `None` is omitted.

        Returns:
            The customer. `recent_tickets` is `None` if the tickets were omitted.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            NotFoundError: The team has no such customer.
            APIStatusError: The server returned another error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            customer = await client.customers.get(team_id, "cus_x9Y8z7W6v5U4")
            ```
        """
        return await self._send(get_call(team_id, customer_id, expand, extra_query))

    async def update(
        self,
        team_id: str | UUID,
        customer_id: str | UUID,
        *,
        name: str | NotGiven = NOT_GIVEN,
        email: str | NotGiven = NOT_GIVEN,
        sentiment: models.CustomerSentiment | NotGiven = NOT_GIVEN,
        status: models.CustomerStatus | NotGiven = NOT_GIVEN,
        tags: builtins.list[str] | tuple[str, ...] | NotGiven = NOT_GIVEN,
        notes: str | NotGiven | None = NOT_GIVEN,
        custom_fields: Mapping[str, Json] | NotGiven = NOT_GIVEN,
        metadata: Mapping[str, str] | Mapping[str, str | None] | NotGiven = NOT_GIVEN,
        extra_body: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> models.Customer:
        """Update a customer (API page "Customers", Update Customer). Requires a secret key.

        Only the fields that you pass are changed. `None` is sent as null: `notes=None` clears the notes. Tags and
        custom fields are replaced completely, so one of two concurrent changes is lost. Metadata is merged by key.

        Args:
            team_id: The team's id, a UUID.
            customer_id: The customer's id: `cus_…` or a UUID.
            name: The new display name.
            email: The new email address, unique in the team.
            sentiment: `"happy"`, `"neutral"`, `"frustrated"` or `"angry"`.
            status: `"active"` or `"inactive"`.
            tags: Replaces all tags; `[]` removes them.
            notes: The new notes; `None` clears them.
            custom_fields: Replaces all custom data.
            metadata: Merged into the existing metadata: a key with `None` is removed, other keys are kept. At most 50
                keys of at most 40 characters, values of at most 500.
            extra_body: Additional fields, by the API's names.
            idempotency_key: Identifies this operation: 1 to 255 printable ASCII characters. Repeating the call with the
                same key within 24 hours returns the first response and changes nothing again. By default a new UUID for
                each call, sent with all its attempts.

        Returns:
            The updated customer.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            NotFoundError: The team has no such customer.
            ConflictError: Another customer of the team has this email address.
            PermissionDeniedError: The key is publishable or belongs to another team.
            APIStatusError: The server returned another error status.
            APIConnectionError: No response was received; repeat the call with the error's `idempotency_key`.

        Example:
            ```python
            await client.customers.update(team_id, customer.id, status="inactive", metadata={"crm_id": "42"})
            ```
        """
        return await self._send(
            update_call(
                team_id,
                customer_id,
                extra_body,
                idempotency_key,
                name=name,
                email=email,
                sentiment=sentiment,
                status=status,
                tags=tags,
                notes=notes,
                custom_fields=custom_fields,
                metadata=metadata,
            )
        )

    async def find(self, team_id: str | UUID, email: str) -> models.Customer | None:
        """Find a customer by email address (API page "Customers", List Customers).

        It lists the customers whose name or email address contains the address, and compares each email address,
        ignoring case. It usually sends one request.

        Args:
            team_id: The team's id, a UUID.
            email: The complete email address, in any case.

        Returns:
            The customer; `None` if no customer of the team has this email address.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            APIStatusError: The server returned an error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            jane = await client.customers.find(team_id, "jane@example.com")
            ```
        """
        email = check_email(email)
        async for customer in self.list(team_id, search=email):
            if has_email(customer, email):
                return customer
        return None

    async def delete(
        self, team_id: str | UUID, customer_id: str | UUID, *, idempotency_key: str | None = None
    ) -> models.DeletedCustomer:
        """Delete a customer (API page "Customers", Delete Customer). Requires a secret key that may delete.

        If the response is lost and the retry returns 404, the deletion has succeeded.

        Args:
            team_id: The team's id, a UUID.
            customer_id: The customer's id: `cus_…` or a UUID.
            idempotency_key: Identifies this operation: 1 to 255 printable ASCII characters. By default a new UUID for
                each call, sent with all its attempts.

        Returns:
            The receipt, with the id of the deleted customer.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            NotFoundError: The team has no such customer.
            PermissionDeniedError: The key may not delete, is publishable, or belongs to another team.
            APIStatusError: The server returned another error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            await client.customers.delete(team_id, customer.id)
            ```
        """
        return await self._send(delete_call(team_id, customer_id, idempotency_key))

    async def upsert(
        self,
        team_id: str | UUID,
        *,
        email: str,
        name: str,
        sentiment: models.CustomerSentiment | None = None,
        status: models.CustomerStatus | None = None,
        tags: builtins.list[str] | tuple[str, ...] | None = None,
        notes: str | None = None,
        custom_fields: Mapping[str, Json] | None = None,
        metadata: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> models.Upserted:
        """Create a customer, or update the one with this email address (API page "Customers"). Requires a secret key.

        It first tries to create the customer, so that concurrent calls create only one. If a customer already has the
        email address in any case, it updates the fields that you pass. It sends one request for a new customer and
        three for an existing one. For many customers, `bulk_import` sends one request for each 500.

        Args:
            team_id: The team's id, a UUID.
            email: Email address, in any case. An existing customer's email address is not changed.
            name: Display name.
            sentiment: `"happy"`, `"neutral"` (the server's default), `"frustrated"` or `"angry"`.
            status: `"active"` (the server's default) or `"inactive"`.
            tags: Tags; replaces all tags of an existing customer.
            notes: Internal notes.
            custom_fields: Custom data: any JSON values; replaces all custom data of an existing customer.
            metadata: Developer metadata; merged into that of an existing customer.
            extra_body: Additional fields, by the API's names.
            idempotency_key: Identifies this operation: 1 to 200 printable ASCII characters. Repeating the call with the
                same key within 24 hours has no further effect, unless the customer was deleted since. By default a new
                UUID for each call.

        Returns:
            The customer, and whether it was created.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            ConflictError: The email address is taken, but no customer with it was found.
            PermissionDeniedError: The key is publishable or belongs to another team.
            APIStatusError: The server returned another error status.
            APIConnectionError: No response was received; repeat the call with the error's `idempotency_key`.

        Example:
            ```python
            customer, created = await client.customers.upsert(team_id, email="jane@example.com", name="Jane Doe")
            ```
        """
        steps = UpsertSteps(
            team_id,
            extra_body,
            idempotency_key,
            name=name,
            email=email,
            sentiment=sentiment,
            status=status,
            tags=tags,
            notes=notes,
            custom_fields=custom_fields,
            metadata=metadata,
        )
        try:
            return await AsyncCustomers(self._transport.with_shared_deadline())._upsert(team_id, steps)
        except APIError as error:
            error.idempotency_key = steps.key
            raise

    async def _upsert(self, team_id: str | UUID, steps: UpsertSteps) -> models.Upserted:
        while True:
            if steps.attempts:
                await self._transport.back_off(steps.attempts)
            try:
                return models.Upserted(await self._send(steps.create()), created=True)
            except ConflictError as error:
                steps.check_conflict(error)
                conflict = error
            if (existing := await self.find(team_id, steps.email)) is None:
                steps.check_missing(conflict)
                continue  # it was deleted meanwhile
            try:
                return models.Upserted(await self._send(steps.update(existing.id)), created=False)
            except NotFoundError:
                steps.check_missing(conflict)

    async def bulk_update(
        self,
        team_id: str | UUID,
        ids: AsyncItems[str | UUID],
        *,
        name: str | NotGiven = NOT_GIVEN,
        email: str | NotGiven = NOT_GIVEN,
        sentiment: models.CustomerSentiment | NotGiven = NOT_GIVEN,
        status: models.CustomerStatus | NotGiven = NOT_GIVEN,
        tags: builtins.list[str] | tuple[str, ...] | NotGiven = NOT_GIVEN,
        notes: str | NotGiven | None = NOT_GIVEN,
        custom_fields: Mapping[str, Json] | NotGiven = NOT_GIVEN,
        metadata: Mapping[str, str] | Mapping[str, str | None] | NotGiven = NOT_GIVEN,
        extra_body: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> models.BulkResult:
        """Apply one update to many customers, 100 per request (API page "Bulk operations"). Requires a secret key.

        The ids are read lazily, so a generator of any length is allowed. Each id is checked before its request is sent.
        An id that the server rejects is reported in `errors` and raises no exception.

        Args:
            team_id: The team's id, a UUID.
            ids: The customers' ids: `cus_…` or UUIDs.
            name: The new display name.
            email: The new email address, unique in the team, so only one customer can get it.
            sentiment: `"happy"`, `"neutral"`, `"frustrated"` or `"angry"`.
            status: `"active"` or `"inactive"`.
            tags: Replaces all tags; `[]` removes them.
            notes: The new notes; `None` clears them.
            custom_fields: Replaces all custom data.
            metadata: Merged into the existing metadata: a key with `None` is removed, other keys are kept. At most 50
                keys of at most 40 characters, values of at most 500.
            extra_body: Additional fields, by the API's names.
            idempotency_key: Identifies this operation: 1 to 244 printable ASCII characters. Repeating the call with the
                same key and ids within 24 hours continues it, and changes nothing twice. By default a new UUID.

        Returns:
            The totals of all requests, and the errors with their index in `ids`.

        Raises:
            InvalidParameterError: A parameter is invalid. Ids of earlier requests were sent: see `partial`.
            PermissionDeniedError: The key is publishable or belongs to another team.
            ConflictError: The idempotency key was used with other content within 24 hours.
            APIStatusError: The server returned another error status; `partial` is the result so far.
            APIConnectionError: A request got no response; `partial` is the result so far. Repeat the call with the
                error's `idempotency_key` to continue it.

        Example:
            ```python
            result = await client.customers.bulk_update(team_id, ids, status="inactive")
            print(result.succeeded, result.errors)
            ```
        """
        job = bulk_update_job(
            team_id,
            extra_body,
            idempotency_key,
            name=name,
            email=email,
            sentiment=sentiment,
            status=status,
            tags=tags,
            notes=notes,
            custom_fields=custom_fields,
            metadata=metadata,
        )
        return await self._run(job, ids)

    async def bulk_delete(
        self, team_id: str | UUID, ids: AsyncItems[str | UUID], *, idempotency_key: str | None = None
    ) -> models.BulkResult:
        """Delete many customers, 100 per request (API page "Bulk operations"). Requires a key that may delete.

        The ids are read lazily, so a generator of any length is allowed. Each id is checked before its request is sent.
        An id that the server rejects is reported in `errors` and raises no exception.

        Args:
            team_id: The team's id, a UUID.
            ids: The customers' ids: `cus_…` or UUIDs.
            idempotency_key: Identifies this operation: 1 to 244 printable ASCII characters. Repeating the call with the
                same key and ids within 24 hours continues it. By default a new UUID.

        Returns:
            The totals of all requests, and the errors with their index in `ids`.

        Raises:
            InvalidParameterError: A parameter is invalid. Ids of earlier requests were sent: see `partial`.
            PermissionDeniedError: The key may not delete, is publishable, or belongs to another team.
            ConflictError: The idempotency key was used with other content within 24 hours.
            APIStatusError: The server returned another error status; `partial` is the result so far.
            APIConnectionError: A request got no response; `partial` is the result so far. Repeat the call with the
                error's `idempotency_key` to continue it.

        Example:
            ```python
            inactive = [customer.id async for customer in client.customers.list(team_id, status="inactive")]
            result = await client.customers.bulk_delete(team_id, inactive)
            ```
        """
        return await self._run(bulk_delete_job(team_id, idempotency_key), ids)

    async def bulk_import(
        self,
        team_id: str | UUID,
        records: AsyncItems[models.CustomerRecord | Mapping[str, object]],
        *,
        merge_strategy: str = "skip",
        idempotency_key: str | None = None,
    ) -> models.ImportResult:
        """Create many customers, up to 500 per request (API page "Import"). Requires a secret key.

        The records are read lazily, so a generator of any length is allowed. Each record is checked before its request
        is sent. A record that the server rejects is reported in `errors` and raises no exception. A request has at most
        1 MiB.

        Args:
            team_id: The team's id, a UUID.
            records: An iterable of mappings, such as a list or a `csv.DictReader`. Each has `name` and `email`, and any
                other fields of `CustomerRecord`. A field that is `None` is omitted.
            merge_strategy: How the server handles a record whose email address a customer already has. The API
                documents `"skip"`, which leaves the customer unchanged; other values are sent unchecked.
            idempotency_key: Identifies this operation: 1 to 244 printable ASCII characters. Repeating the call with the
                same key and records within 24 hours continues it, and creates no customer twice. By default a new UUID.

        Returns:
            The totals of all requests, and the errors with their index in `records`.

        Raises:
            InvalidParameterError: A parameter is invalid. Records of earlier requests were sent: see `partial`.
            PermissionDeniedError: The key is publishable or belongs to another team.
            ConflictError: The idempotency key was used with other content within 24 hours.
            APIStatusError: The server returned another error status; `partial` is the result so far.
            APIConnectionError: A request got no response; `partial` is the result so far. Repeat the call with the
                error's `idempotency_key` to continue it.

        Example:
            ```python
            rows = [{"name": "Jane Doe", "email": "jane@example.com"}, {"name": "Ada", "email": "ada@example.com"}]
            result = await client.customers.bulk_import(team_id, rows, idempotency_key="crm-2026-11-26")
            print(result.created, result.skipped, result.errors)
            ```
        """
        return await self._run(bulk_import_job(team_id, merge_strategy, idempotency_key), records)

    async def export(
        self,
        team_id: str | UUID,
        *,
        status: models.CustomerStatus | None = None,
        sentiment: models.CustomerSentiment | None = None,
        search: str | None = None,
        tag: str | None = None,
    ) -> models.CustomerExport:
        """Export up to 10,000 customers with one request (API page "Export"). Requires a secret key.

        A larger export is truncated, and a warning is logged. `list` has no such limit.

        Args:
            team_id: The team's id, a UUID.
            status: Only customers with this status: `"active"` or `"inactive"`.
            sentiment: Only customers with this sentiment: `"happy"`, `"neutral"`, `"frustrated"` or `"angry"`.
            search: Only customers whose name or email address contains this text.
            tag: Only customers with this tag.

        Returns:
            The customers.

        Raises:
            InvalidParameterError: A parameter is invalid; nothing was sent.
            PermissionDeniedError: The key is publishable or belongs to another team.
            APIStatusError: The server returned another error status.
            APIConnectionError: No response was received.

        Example:
            ```python
            export = await client.customers.export(team_id, status="active")
            print(export.total_rows, export.customers[0].email)
            ```
        """
        return await self._send(export_call(team_id, status=status, sentiment=sentiment, search=search, tag=tag))

    @property
    def with_raw_response(self) -> AsyncCustomersWithRawResponse:
        """The same methods, returning a `RawResponse` with status, headers and `parse()`."""
        return AsyncCustomersWithRawResponse(AsyncCustomers(self._transport, raw=True))


class AsyncCustomersWithRawResponse:
    """`client.customers.with_raw_response`: the methods of `AsyncCustomers`, returning a `RawResponse`."""

    def __init__(self, customers: AsyncCustomers) -> None:
        self.resource = customers
        """The `AsyncCustomers` that sends the requests."""

    @async_raw_form(AsyncCustomers.list)
    def list(self) -> None:
        """Like `AsyncCustomers.list`, but return a `RawResponse`."""

    @async_raw_form(AsyncCustomers.create)
    def create(self) -> None:
        """Like `AsyncCustomers.create`, but return a `RawResponse`."""

    @async_raw_form(AsyncCustomers.get)
    def get(self) -> None:
        """Like `AsyncCustomers.get`, but return a `RawResponse`."""

    @async_raw_form(AsyncCustomers.update)
    def update(self) -> None:
        """Like `AsyncCustomers.update`, but return a `RawResponse`."""

    @async_raw_form(AsyncCustomers.delete)
    def delete(self) -> None:
        """Like `AsyncCustomers.delete`, but return a `RawResponse`."""

    @async_raw_form(AsyncCustomers.export)
    def export(self) -> None:
        """Like `AsyncCustomers.export`, but return a `RawResponse`."""
